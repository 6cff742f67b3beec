"""A process of roles: it runs until asked to stop, and one that fails stops all and says why."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import structlog

from service import telemetry
from service.errors import InvariantError, TransientError
from service.health import serve_health
from service.runtime import EXIT_FAILED, EXIT_HALTED, EXIT_STOPPED, Role, supervise
from service.settings import HealthSettings

_SCRIPT = """
import asyncio, sys
from contextlib import asynccontextmanager
from service import runtime, telemetry
from service.settings import HealthSettings

async def work(stopping):
    print("working", flush=True)
    await stopping.wait()
    print("ended in order", flush=True)

@asynccontextmanager
async def assemble():
    yield [runtime.Role(name="worker", run=work, health=dict)]
    print("closed", flush=True)

telemetry.configure()
sys.exit(runtime.run(assemble, HealthSettings()))
"""


def role(name: str, run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> Role:
    return Role(name=name, run=run, health=lambda: {"name": name})


async def until_stopped(stopping: asyncio.Event) -> None:
    await stopping.wait()


async def at_once(_stopping: asyncio.Event) -> None:
    return


def raising(error: Exception) -> Callable[[asyncio.Event], Coroutine[Any, Any, None]]:
    async def run(_stopping: asyncio.Event) -> None:
        raise error

    return run


async def supervised(roles: Sequence[Role]) -> tuple[int, list[Any]]:
    with structlog.testing.capture_logs() as lines:
        code = await asyncio.wait_for(supervise(roles, asyncio.Event()), 5)
    return code, [(line["event"], line["role"]) for line in lines]


async def test_asked_to_stop_every_role_ends_and_the_exit_is_clean() -> None:
    stopping = asyncio.Event()
    running = asyncio.create_task(supervise([role("a", until_stopped), role("b", until_stopped)], stopping))

    stopping.set()

    assert await running == EXIT_STOPPED


async def test_a_role_that_fails_stops_the_others_and_is_named() -> None:
    roles = [role("steady", until_stopped), role("faulty", raising(TransientError("away")))]

    assert await supervised(roles) == (EXIT_FAILED, [("runtime.role_failed", "faulty")])


async def test_a_broken_invariant_has_an_exit_code_of_its_own() -> None:
    roles = [
        role("a", raising(TransientError("away"))),
        role("b", raising(InvariantError("a hole in the log"))),
    ]

    code, _ = await supervised(roles)

    assert code == EXIT_HALTED


async def test_a_role_that_just_ends_is_a_failure_too() -> None:
    roles = [role("steady", until_stopped), role("gone", at_once)]

    assert await supervised(roles) == (EXIT_FAILED, [("runtime.role_ended", "gone")])


async def test_a_role_that_something_cancelled_is_a_failure_and_is_named() -> None:
    async def cancelled(_stopping: asyncio.Event) -> None:
        raise asyncio.CancelledError

    roles = [role("steady", until_stopped), role("confused", cancelled)]

    assert await supervised(roles) == (EXIT_FAILED, [("runtime.role_cancelled", "confused")])


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order(sent: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _SCRIPT], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"

        process.send_signal(sent)
        rest = process.stdout.read()

    assert (process.returncode, rest) == (EXIT_STOPPED, "ended in order\nclosed\n")


@asynccontextmanager
async def health_of(*roles: Role) -> AsyncIterator[str]:
    details = {role.name: role.health for role in roles}
    async with serve_health(details, HealthSettings(port=0)) as port:
        yield f"http://127.0.0.1:{port}"


async def test_health_tells_of_each_role_and_metrics_of_the_process() -> None:
    roles = role("a", until_stopped), role("b", until_stopped)
    telemetry.PROJECTOR_FOLDED.inc()
    async with health_of(*roles) as url, aiohttp.ClientSession(url) as http:
        async with http.get("/health") as answer:
            health = await answer.json()
        async with http.get("/metrics") as answer:
            metrics = await answer.text()

    assert health == {"status": "ok", "roles": {"a": {"name": "a"}, "b": {"name": "b"}}}
    assert "recibo_projector_folded_total" in metrics


async def test_without_a_port_nothing_listens() -> None:
    async with serve_health({}, HealthSettings()) as port:
        assert port is None
