"""The processes of a rebuild: one worker in this process, or several in their own.

In: a task, then jobs. Out: each job's outcome as it comes. A worker that dies takes no job's result with
it: what it had not recorded is done again by the next run.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from service.errors import TransientError
from service.replay.jobs import Done, Failed, Job, Task
from service.replay.worker import opened

Member = Callable[[Job], Awaitable[Done]]


class Crew:
    """Workers that share jobs."""

    def __init__(self, members: list[Member]) -> None:
        self._members = members

    async def run(self, jobs: Iterable[Job], on_done: Callable[[Done], None]) -> None:
        """Return when all of `jobs` are done. Raises ReciboError, the first that a member raised."""
        waiting = iter(jobs)
        working = [asyncio.ensure_future(_run(member, waiting, on_done)) for member in self._members]
        try:
            await asyncio.gather(*working)
        finally:
            for each in working:
                each.cancel()
            await asyncio.gather(*working, return_exceptions=True)


async def _run(member: Member, waiting: Iterator[Job], on_done: Callable[[Done], None]) -> None:
    for job in waiting:
        on_done(await member(job))


@asynccontextmanager
async def crew(task: Task, *, processes: int) -> AsyncIterator[Crew]:
    """Up to `processes` workers for `task`, as long as the context lasts."""
    async with AsyncExitStack() as stack:
        if processes == 1 or task.last_position <= task.strip_rows:
            worker = await stack.enter_async_context(opened(task))
            yield Crew([worker.do])
        else:
            started = [await stack.enter_async_context(_process(task)) for _ in range(processes)]
            yield Crew(started)


@asynccontextmanager
async def _process(task: Task) -> AsyncIterator[Member]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service.replay.worker", stdin=PIPE, stdout=PIPE
    )
    try:
        await _send(process, task)

        async def do(job: Job) -> Done:
            await _send(process, job)
            return await _answer(process)

        yield do
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _send(process: Process, what: Task | Job) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(_encode(what) + b"\n")
        await process.stdin.drain()
    except ConnectionError:
        raise _died(process) from None


async def _answer(process: Process) -> Done:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line.endswith(b"\n"):
        await process.wait()
        raise _died(process)
    answer: Done | Failed = msgspec.json.decode(line, type=Done | Failed)
    if isinstance(answer, Failed):
        raise answer.error()
    return answer


def _died(process: Process) -> TransientError:
    return TransientError(
        f"a process of the rebuild ended with {process.returncode}: run the same command again, it goes on "
        "from here (with --processes 1 if memory is short)"
    )


_encode: Final = msgspec.json.Encoder(enc_hook=bytes).encode
"""The payer key is no plain bytes, so that no repr shows it."""
