"""The verdicts as a table: for the terminal, and for docs/reliability.md. No failed run is left out."""

import datetime as dt
import os
import platform
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from rich.table import Table

from tests.faults.run import Outcome

PAGE: Final = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN: Final = "<!-- faults: written by `make faults` -->"
END: Final = "<!-- faults: end -->"

_COLUMNS: Final = (
    "fault",
    "runs",
    "acknowledged",
    "lost",
    "doubled",
    "wrong",
    "recovered after, s",
    "verdict",
)


class _Row(NamedTuple):
    fault: str
    runs: str
    acknowledged: str
    lost: str
    doubled: str
    wrong: str
    recovered: str
    verdict: str


def rich_table(outcomes: Sequence[Outcome]) -> Table:
    """For the terminal."""
    table = Table(*_COLUMNS)
    for column in table.columns[1:7]:
        column.justify = "right"
    for row in _rows(outcomes):
        table.add_row(*row, style=None if row.verdict == "held" else "bold red")
    return table


def markdown(outcomes: Sequence[Outcome], *, seed: int, left_out: Sequence[str]) -> str:
    """For the page: when, where, with which seed, the table, and what there was no time for."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    lines = [
        f"{now}, seed {seed}, {machine}. {len(outcomes)} runs, {failed} failed.",
        "",
        "| " + " | ".join(_COLUMNS) + " |",
        "| --- | " + "---: | " * 6 + "--- |",
        *("| " + " | ".join(row) + " |" for row in _rows(outcomes)),
    ]
    if left_out:
        lines += ["", f"No time was left for: {', '.join(left_out)}."]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put `text` between the two comments of `page`."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _rows(outcomes: Sequence[Outcome]) -> Iterator[_Row]:
    ordered = list(dict.fromkeys(outcome.fault for outcome in outcomes))
    by_fault = sorted(outcomes, key=lambda outcome: ordered.index(outcome.fault))
    for fault, group in groupby(by_fault, key=lambda outcome: outcome.fault):
        yield _row(fault, list(group))


def _row(fault: str, runs: list[Outcome]) -> _Row:
    recovered = [run.recovered_s for run in runs if run.recovered_s is not None]
    return _Row(
        f"{fault} ({runs[0].detail})" if runs[0].detail else fault,
        str(len(runs)),
        f"{sum(run.acknowledged for run in runs):,}",
        str(sum(run.lost for run in runs)),
        str(sum(run.doubled for run in runs)),
        str(sum(run.wrong for run in runs)),
        f"{max(recovered):.1f}" if recovered else "-",
        _verdict(runs),
    )


def _verdict(runs: list[Outcome]) -> str:
    for run in runs:
        if run.not_here:
            return f"not run: {run.not_here}"
        if run.failure:
            return f"FAILED: {run.failure.splitlines()[0]}".replace("|", "/")
    return "held"
