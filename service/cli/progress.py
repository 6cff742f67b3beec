"""A progress bar with rate and time left, on a terminal; nothing anywhere else."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_WHOLE_FROM: Final = 10
"""A slower rate has two digits: a table in three minutes is not 0/s."""


@contextmanager
def bar(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """What shows how far a command is: what it does now, how much of it is done, of how much.

    Rate and time left are those of what it does now: they start anew with it.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        # Some steps take minutes each: a mean over the last seconds would know none of them.
        speed_estimate_period=math.inf,
        disable=quiet or not console.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)

        def show(doing: str, done: int, total: int) -> None:
            nonlocal task
            (before,) = progress.tasks
            if doing != before.description or done < before.completed:
                # However quick the phase before was, its end is seen.
                progress.refresh()
                progress.remove_task(task)
                task = progress.add_task(doing, total=total, completed=done)
            progress.update(task, completed=done, total=total)

        yield show


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= _WHOLE_FROM else f"{speed:.2g}/s")
