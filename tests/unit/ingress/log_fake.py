"""A log that does what a test tells it to, at the seam where DeliveryLog.append stands."""

import asyncio
from collections.abc import Sequence

from service.eventlog.deliveries import Appended, NewDelivery


class LogFake:
    """Keeps rows in memory; holds or fails appends on demand."""

    def __init__(self) -> None:
        self.batches: list[Sequence[NewDelivery]] = []
        """Every append that was tried, in order."""
        self.failures: list[Exception] = []
        """Raised by the next appends, one each; what is raised was not stored."""
        self.refused: frozenset[int] = frozenset()
        self.probes: list[Exception | None] = []
        """What the next probes find, one each: an error, or null for a log that answers."""
        self.open = asyncio.Event()
        """While it is not set, appends wait."""
        self.open.set()
        self.entered = asyncio.Event()
        self.concurrent = 0
        self.concurrent_max = 0
        self._last = 0

    @property
    def rows(self) -> Sequence[NewDelivery]:
        return [row for batch in self.batches for row in batch]

    async def append(self, rows: Sequence[NewDelivery]) -> Appended:
        self.batches.append(rows)
        self.concurrent += 1
        self.concurrent_max = max(self.concurrent_max, self.concurrent)
        self.entered.set()
        try:
            await self.open.wait()
        finally:
            self.concurrent -= 1
        if self.failures:
            raise self.failures.pop(0)
        first = self._last + 1
        self._last += len(rows)
        return Appended(positions=range(first, self._last + 1), refused=self.refused)

    async def probe(self) -> None:
        found = self.probes.pop(0) if self.probes else None
        if found is not None:
            raise found
