"""Roles as processes that are started again whenever they die, as an orchestrator would.

A role that exits because a human must decide (3) stays down, and says so.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import aiohttp

from service.localstack.ports import free_port
from service.runtime import EXIT_HALTED
from tests.servers import eventually

PATIENCE_S: Final = 90.0
"""For anything that must come about: two cores may be busy with other things."""

_BACKOFF_S: Final = 0.2
_STOP_S_MAX: Final = 30.0


class Supervised:
    """One role, on a port that stays its own."""

    def __init__(self, kind: str, *, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.kind = kind
        self.name = name
        self.log = folder / f"{name}.log"
        self.port = free_port()
        self.exits: list[int] = []
        """Codes with which it ended unasked."""
        self.restarts = True
        """Whether it is started again when it dies."""
        self._environment = environment
        self._is_armed = True
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def halted(self) -> bool:
        """Whether it waits for a human."""
        return EXIT_HALTED in self.exits[-1:]

    def disarm(self) -> None:
        """Start it from now on without the crash point that its environment names."""
        self._is_armed = False

    async def start(self) -> None:
        """Start it; the first time it is armed as its environment says."""
        self.exits.clear()
        await self._launch()
        self._watching = asyncio.create_task(self._watch())

    async def healthy(self) -> None:
        """Return once it answers."""
        await eventually(self._answers, what=f"{self.name} is healthy", timeout_s=PATIENCE_S)

    async def died(self, code: int) -> None:
        """Return once it has ended with this code, unasked."""

        async def it_did() -> bool:
            return code in self.exits

        await eventually(it_did, what=f"{self.name} ends with {code}", timeout_s=PATIENCE_S)

    async def stopped(self) -> None:
        """Return once SIGSTOP holds it."""

        async def it_is() -> bool:
            return self.is_stopped()

        await eventually(it_is, what=f"{self.name} is stopped", timeout_s=PATIENCE_S)

    async def said(self, text: str) -> None:
        """Return once its log lines have `text`."""

        async def it_did() -> bool:
            return self.has_said(text)

        await eventually(it_did, what=f"{self.name} says {text!r}", timeout_s=PATIENCE_S)

    def has_said(self, text: str) -> bool:
        """Whether its log lines have `text`."""
        return text.encode() in self.log.read_bytes()

    def is_stopped(self) -> bool:
        """Whether SIGSTOP holds it."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        return state == "T"

    def freeze(self) -> None:
        """As a machine that is swapped out."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """End `freeze`, or a crash point's stop."""
        os.kill(self.pid, signal.SIGCONT)

    async def hold(self) -> None:
        """Kill it, and let it stay down until `start`."""
        await self._unwatched()
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> int:
        """Ask it to stop, and let it stay down; its exit code, negative for a signal that it died of."""
        await self._unwatched()
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self._process.wait(), _STOP_S_MAX)
        except TimeoutError:
            self._process.kill()
            return await self._process.wait()

    async def end(self) -> None:
        """Have it gone, whatever it does, also if it never ran."""
        if self._process is not None:
            await self.hold()

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-1500:]

    async def _launch(self) -> None:
        environment = os.environ | self._environment
        environment["RECIBO_HTTP_PORT" if self.kind == "ingress" else "RECIBO_HEALTH_PORT"] = str(self.port)
        if not self._is_armed:
            environment.pop("RECIBO_CRASHPOINT", None)
        self._is_armed = False
        with self.log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig=KILL", "--"),
                *(sys.executable, "-m", "service", "serve", self.kind),
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    async def _watch(self) -> None:
        while True:
            assert self._process is not None
            self.exits.append(await self._process.wait())
            if self.halted or not self.restarts:
                return
            await asyncio.sleep(_BACKOFF_S)
            await self._launch()

    async def _unwatched(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})

    async def _answers(self) -> bool:
        assert not self.halted, self.last_words()
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session,
                session.get(f"{self.url}/health") as answer,
            ):
                return answer.ok
        except (aiohttp.ClientError, TimeoutError):
            return False
