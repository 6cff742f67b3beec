"""`recibo simulate` as a process of its own, with its ledger: what the checker holds the system against."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from service.runtime import EXIT_HALTED
from tests.faults.supervision import PATIENCE_S
from tests.servers import eventually

RATE: Final = 200
"""Deliveries a second."""

_DURATION_S: Final = 3600
_ACKNOWLEDGED: Final = b'"status":200'
"""As the ledger's lines have it; their bodies are base64 and cannot."""


class Load:
    """Deliveries at a rate, until it is ended; it can begin again, with a seed and a ledger of its own."""

    def __init__(self, *, url: str, seed: int, folder: Path, environment: Mapping[str, str]) -> None:
        self.ledgers: list[Path] = []
        self._url = url
        self._seed = seed
        self._folder = folder
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._counted: dict[Path, tuple[int, int]] = {}

    async def begin(self) -> None:
        """Start sending."""
        ledger = self._folder / f"ledger-{len(self.ledgers)}.jsonl"
        options = {
            "--url": self._url,
            "--rate": RATE,
            "--duration": _DURATION_S,
            "--seed": self._seed + len(self.ledgers),
            "--duplicates": 0.1,
            "--reordered": 0.1,
            "--forged": 0.02,
            "--unknown": 0.02,
            "--ledger": ledger,
        }
        with (self._folder / "load.log").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *("setpriv", "--pdeathsig=KILL", "--", sys.executable, "-m", "service", "simulate"),
                *(str(word) for option in options.items() for word in option),
                env=os.environ | self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        await self._until(ledger.exists, what="the load begins")
        self.ledgers.append(ledger)

    async def answered(self, count: int) -> None:
        """Return once `count` more deliveries got a receipt."""
        begin = self.acknowledged()
        await self._until(lambda: self.acknowledged() >= begin + count, what=f"{count} more receipts")

    async def end(self) -> None:
        """Stop sending; every request under way gets its answer, and its line."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGINT)
        code = await self._process.wait()
        # 1 is a delivery that no try brought in: a fault may cause that, and it got no receipt.
        assert code in {0, 1}, f"a forged delivery got in, or the load failed ({code} of {EXIT_HALTED})"

    async def kill(self) -> None:
        """End it whatever it does."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def acknowledged(self) -> int:
        """How many receipts the ledgers hold."""
        return sum(map(self._count, self.ledgers))

    def _count(self, ledger: Path) -> int:
        """Only what was written since the last look is read."""
        offset, count = self._counted.get(ledger, (0, 0))
        with ledger.open("rb") as lines:
            lines.seek(offset)
            new = lines.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._counted[ledger] = (offset + len(whole), count + whole.count(_ACKNOWLEDGED))
        return self._counted[ledger][1]

    async def _until(self, condition: Callable[[], bool], *, what: str) -> None:
        async def holds() -> bool:
            assert self._process is not None
            assert self._process.returncode is None, f"the load ended by itself ({self._process.returncode})"
            return condition()

        await eventually(holds, what=what, timeout_s=PATIENCE_S)
