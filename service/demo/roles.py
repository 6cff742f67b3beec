"""Every role that `recibo serve` knows, each a process of its own, for as long as the demo lasts.

A role that ends by itself is an error with its last log lines. In the end all get SIGTERM at once and are
waited for; should this process die, the kernel sends it to them.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from service.demo.place import Place
from service.errors import TransientError
from service.localstack.ports import free_port
from service.wiring import ROLES

_START_S_MAX: Final = 60.0
_STOP_S_MAX: Final = 20.0
"""More than a role takes to answer what is under way."""
_LOOK_INTERVAL_S: Final = 0.05
_LOG_LINES_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One role's process."""

    name: str
    child: subprocess.Popen[bytes]
    health_url: str
    log: Path


@contextmanager
def running(place: Place) -> Iterator[Sequence[Running]]:
    """All roles, started and perhaps not yet healthy. Enter it from the thread that outlives them."""
    started: list[Running] = []
    try:
        started.extend(_start(name, place) for name in ROLES)
        yield started
    finally:
        _stop(started)


async def await_healthy(
    roles: Sequence[Running], urls: Sequence[str], session: aiohttp.ClientSession
) -> None:
    """Return once all roles and `urls` answer. Raises TransientError for a role that ends or is too slow."""
    deadline = time.monotonic() + _START_S_MAX
    for url in (*(role.health_url for role in roles), *urls):
        while not await _answers(url, session):
            check(roles)
            if time.monotonic() > deadline:
                raise TransientError(f"no answer from {url} within {_START_S_MAX:.0f} s: see the roles' logs")
            await asyncio.sleep(_LOOK_INTERVAL_S)


def check(roles: Sequence[Running]) -> None:
    """Raises TransientError where one has ended."""
    for role in roles:
        code = role.child.poll()
        if code is not None:
            raise TransientError(
                f"the role {role.name} ended with exit code {code}. "
                f"The last lines of {role.log}:\n{_last_lines(role.log)}"
            )


def _start(name: str, place: Place) -> Running:
    port, log = free_port(), place.folder / f"{name}.log"
    given = {key: value for key, value in os.environ.items() if not key.startswith("RECIBO_")}
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*_tether(), sys.executable, "-m", "service", "serve", name],
            env={**given, **place.environment, "RECIBO_HEALTH_PORT": str(port)},
            cwd=place.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C in the terminal is for the demo: a role that got it twice would end on the spot.
            start_new_session=True,
        )
    return Running(name=name, child=child, health_url=f"http://127.0.0.1:{port}/health", log=log)


def _tether() -> Sequence[str]:
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig=TERM", "--"]


def _stop(roles: Sequence[Running]) -> None:
    for role in roles:
        role.child.terminate()
    deadline = time.monotonic() + _STOP_S_MAX
    for role in roles:
        try:
            role.child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            role.child.send_signal(signal.SIGKILL)
            role.child.wait()


async def _answers(url: str, session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
    return "\n".join(f"  | {line}" for line in lines) or "  (none)"
