"""The table leaves nothing out, least of all what failed."""

from pathlib import Path

from tests.faults.run import Outcome
from tests.faults.table import BEGIN, END, markdown, write

HELD = Outcome(fault="a", detail="", seed=5, acknowledged=1000, recovered_s=2.0)
FAILED = Outcome(fault="b", detail="", seed=5, lost=3, failure="lost | three\nand more")
NOT_HERE = Outcome(fault="c", detail="", seed=5, not_here="no clock")


def test_a_failed_run_is_in_it_with_what_was_violated() -> None:
    text = markdown([HELD, FAILED, NOT_HERE], seed=5, left_out=["d"])

    assert "| a | 1 | 1,000 | 0 | 0 | 0 | 2.0 | held |" in text
    assert "| b | 1 | 0 | 3 | 0 | 0 | - | FAILED: lost / three |" in text
    assert "| c | 1 | 0 | 0 | 0 | 0 | - | not run: no clock |" in text
    assert "3 runs, 1 failed" in text
    assert "No time was left for: d." in text


def test_a_fault_that_failed_once_is_not_outshone_by_its_other_runs() -> None:
    failed = Outcome(fault="a", detail="", seed=6, failure="not quiet")

    text = markdown([HELD, failed], seed=5, left_out=[])

    assert "| a | 2 | 1,000 | 0 | 0 | 0 | 2.0 | FAILED: not quiet |" in text


def test_writing_it_keeps_the_rest_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    write(page, "new")

    assert page.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
