"""`make faults`: every fault, or those that FAULT names, on servers of the suite's own.

FAULT=NAME       one, or all whose names match a pattern such as 'wire.*'
SEED=NUMBER      what chance decides; printed, so that a run can be repeated
MINUTES=NUMBER   begin no further run after so long
LANES=NUMBER     runs beside one another, each with servers of its own (2)

Without FAULT the table goes into docs/reliability.md. Exits with 1 if a run failed.
"""

import asyncio
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from random import SystemRandom
from typing import Final

import uvloop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from service.localstack import LOCAL
from tests.faults.every.catalogue import faults
from tests.faults.fault import Fault
from tests.faults.run import Outcome, run
from tests.faults.stage import Stage, stage
from tests.faults.table import PAGE, markdown, rich_table, write

_PLAIN_WIDTH: Final = 180


def main() -> int:
    """Run them; the exit code."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    pattern = os.environ.get("FAULT") or "*"
    seed = int(os.environ.get("SEED") or SystemRandom().randrange(1_000_000))
    chosen = [fault for fault in faults(seed) if fnmatchcase(fault.name, pattern)]
    if not chosen:
        console.print(f"no fault is called {pattern}; there are:", *(fault.name for fault in faults(seed)))
        return 2
    console.print(f"{len(chosen)} faults, seed {seed}")
    minutes = float(os.environ.get("MINUTES") or "inf")
    suite = _Suite(
        chosen, seed, console, until=time.monotonic() + 60 * minutes, page=PAGE if pattern == "*" else None
    )
    folder = LOCAL / f"faults-{os.getpid()}"
    with ExitStack() as stack:
        lanes = min(int(os.environ.get("LANES") or 2), len(chosen))
        stages = [stack.enter_context(stage(folder / f"lane-{lane}")) for lane in range(1, lanes + 1)]
        uvloop.run(suite.all(stages))
    console.print(rich_table(suite.outcomes))
    failed = [outcome for outcome in suite.outcomes if outcome.failure]
    if not failed:
        shutil.rmtree(folder)
    for outcome in failed:
        console.print(f"again: make faults FAULT='{outcome.fault}' SEED={outcome.seed}")
    return 1 if failed else 0


class _Suite:
    def __init__(
        self, chosen: Sequence[Fault], seed: int, console: Console, *, until: float, page: Path | None
    ) -> None:
        self._waiting = deque(chosen)
        self._under_way: list[Fault] = []
        self._page = page
        self._seed = seed
        self._console = console
        self._until = until
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self.outcomes: list[Outcome] = []

    async def all(self, stages: Sequence[Stage]) -> None:
        with self._progress:
            whole = self._progress.add_task("faults", total=len(self._waiting))
            async with asyncio.TaskGroup() as lanes:
                for one in stages:
                    lanes.create_task(self._lane(one, whole))

    async def _lane(self, stage_: Stage, whole: TaskID) -> None:
        async with stage_.wires():
            while self._waiting and time.monotonic() < self._until:
                fault = self._waiting.popleft()
                task = self._progress.add_task(f"  {fault.name} {fault.detail}", total=None)
                self._under_way.append(fault)
                outcome = await run(fault, self._seed, stage_)
                self._under_way.remove(fault)
                self._tell(outcome)
                self._progress.remove_task(task)
                self._progress.advance(whole)

    def _tell(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        verdict = "held" if outcome.ok else "FAILED" if outcome.failure else "not run"
        self._console.print(
            f"{verdict:7} {outcome.fault:48} {outcome.acknowledged:6} acknowledged, {outcome.lost} lost, "
            f"{outcome.doubled} doubled, {outcome.wrong} wrong, recovered after "
            f"{outcome.recovered_s or 0:.1f} s, took {outcome.took_s:.0f} s"
        )
        if not outcome.ok:
            self._console.print(outcome.failure or outcome.not_here, markup=False)
        if self._page is not None:
            # Each time: what ends the suite early must not take the table along.
            left_out = [fault.name for fault in (*self._under_way, *self._waiting)]
            write(self._page, markdown(self.outcomes, seed=self._seed, left_out=left_out))


if __name__ == "__main__":
    sys.exit(main())
