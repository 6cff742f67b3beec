"""Without the optional extras everything else works, and one line says what to install."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in ("pyarrow", "fsspec", "duckdb", "pyspark"):
    sys.modules[name] = None
from service.cli import main
sys.argv = ["recibo", *sys.argv[1:]]
main()
"""


def without_extras(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, check=False
    )


def test_the_help_needs_none_of_them() -> None:
    assert without_extras("--help").returncode == 0


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["export", "out"], "analysts"),
        (["export", "out", "--check"], "analysts"),
        (["replay", "parquet", "out"], "analysts"),
        (["replay", "spark", "out"], "spark"),
    ],
)
def test_a_command_says_what_to_install(words: list[str], name: str) -> None:
    ended = without_extras(*words)

    assert ended.returncode == 5
    assert ended.stderr.count("\n") == 1
    assert f"pip install 'recibo[{name}]'" in ended.stderr
