"""Run roles in one process until it is asked to stop.

In: roles, put together by wiring. Out: an exit code. SIGTERM and SIGINT set one event that every role
watches; each then ends its work in its own order, and a second signal ends the process on the spot. A
role that fails stops the others, and the process says why and exits non-zero, for whoever supervises
it to start it again.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
import uvloop

from service import garbage
from service.errors import InvariantError
from service.health import serve_health
from service.settings import HealthSettings

log = structlog.get_logger()

EXIT_STOPPED: Final = 0
EXIT_FAILED: Final = 1
"""Starting again may help."""
EXIT_HALTED: Final = 3
"""Something that must always hold does not: a human decides before it starts again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One stage as a process runs it."""

    name: str
    run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]
    """Works until the event is set; returning before that, or raising, stops the process."""
    health: Callable[[], Mapping[str, object]]
    """Details for `/health`, JSON values only; must not block."""


Assemble = Callable[[], AbstractAsyncContextManager[Sequence[Role]]]
"""Opens what the roles need, and closes it after they ended."""


def run(assemble: Assemble, health: HealthSettings) -> int:
    """Run the roles on uvloop until SIGTERM, SIGINT or a failure. Returns the process's exit code."""
    garbage.collect_rarely()
    return uvloop.run(_run(assemble, health))


async def _run(assemble: Assemble, health: HealthSettings) -> int:
    stopping = asyncio.Event()
    try:
        with _stopped_by_signals(stopping):
            async with assemble() as roles, serve_health({role.name: role.health for role in roles}, health):
                return await supervise(roles, stopping)
    except Exception as error:
        log.error("runtime.failed", exc_info=error)
        return _exit_code(error)


async def supervise(roles: Sequence[Role], stopping: asyncio.Event) -> int:
    """Run `roles` until `stopping` or until one of them ends; returns the exit code, once all have ended."""
    tasks = [asyncio.create_task(role.run(stopping), name=role.name) for role in roles]
    asked = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait([*tasks, asked], return_when=asyncio.FIRST_COMPLETED)
        ended_early = [] if stopping.is_set() else [task for task in tasks if task.done()]
        stopping.set()
        await asyncio.wait(tasks)
    finally:
        for task in (*tasks, asked):
            task.cancel()
    return max(_outcome(task, early=task in ended_early) for task in tasks)


def _outcome(task: "asyncio.Task[None]", *, early: bool) -> int:
    if task.cancelled():
        # By a library that mixed up its own tasks with ours: nobody here cancels a role.
        log.error("runtime.role_cancelled", role=task.get_name())
        return EXIT_FAILED
    error = task.exception()
    if error is not None:
        log.error("runtime.role_failed", role=task.get_name(), exc_info=error)
        return _exit_code(error)
    if early:
        log.error("runtime.role_ended", role=task.get_name())
        return EXIT_FAILED
    return EXIT_STOPPED


def _exit_code(error: BaseException) -> int:
    return EXIT_HALTED if isinstance(error, InvariantError) else EXIT_FAILED


@contextmanager
def _stopped_by_signals(stopping: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("runtime.stopping", signal=name)
        stopping.set()
        remove()

    def remove() -> None:
        for signal_ in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signal_)

    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, stop, signal_.name)
    try:
        yield
    finally:
        remove()
