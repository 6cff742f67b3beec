"""A short run of the fuzzer with every test; and that it finds what is there to be found."""

import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 8_000
"""The seeds are some 500 of them."""

RUNS_TO_FIND = 50_000
"""Of five runs of 8,000 four found the rarer of the two bugs; most end far earlier."""

BROKEN = """
import sys
from pathlib import Path

from tests.fuzz import __main__ as fuzz
from projections import providers

from msgspec import structs

genuine = providers.ADAPTERS["admin"]

def read(delivery, document, reading):
    fact = genuine.read(delivery, document, reading)
    {bug}
    return fact

providers.ADAPTERS["admin"] = genuine._replace(read=read)
fuzz.FAILED = Path(sys.argv.pop(1))
fuzz.main()
"""

BUGS = {
    "raises": 'document["payer"]["name"] + ""',
    "has another root": 'fact = structs.replace(fact, root="x") if (fact.amount_cents or 0) < 0 else fact',
}


def fuzz(*command: str) -> subprocess.CompletedProcess[str]:
    """What a run of the fuzzer came to; it ends its process."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)


def test_every_adapter_keeps_its_contract_on_what_coverage_leads_to() -> None:
    ended = fuzz("-m", "tests.fuzz", "--runs", str(RUNS))

    assert ended.returncode == 0, ended.stderr[-4000:]
    assert f"Done {RUNS} runs" in ended.stderr


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS)
def test_a_broken_adapter_is_found_and_the_input_fails_again(bug: str, tmp_path: Path) -> None:
    script = BROKEN.format(bug=bug)

    found = fuzz("-c", script, str(tmp_path), "--runs", str(RUNS_TO_FIND))
    again = fuzz("-c", script, str(tmp_path), str(tmp_path / "failed"))
    mended = fuzz("-m", "tests.fuzz", str(tmp_path / "failed"))

    assert found.returncode != 0
    assert "admin breaks its contract on" in found.stderr
    assert f"replay: python -m tests.fuzz {tmp_path / 'failed'}" in found.stderr
    assert again.returncode != 0
    assert mended.returncode == 0
