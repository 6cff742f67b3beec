"""A spill that does what a test tells it to, at the seam where SpillWriter stands."""

from collections.abc import Sequence

from service.errors import TransientError
from service.eventlog.deliveries import NewDelivery


class SpillFake:
    """Keeps rows in memory, all in partition 3; away unless a test says otherwise."""

    def __init__(self, *, away: bool = True) -> None:
        self.away = away
        self.batches: list[Sequence[NewDelivery]] = []
        self.failures: list[Exception] = []
        """Raised by the next writes, one each; what is raised was not stored."""
        self._next = 0

    async def write(self, rows: Sequence[NewDelivery]) -> Sequence[tuple[int, int]]:
        if self.away:
            raise TransientError("Kafka is away", store="kafka")
        self.batches.append(rows)
        if self.failures:
            raise self.failures.pop(0)
        first = self._next
        self._next += len(rows)
        return [(3, first + index) for index in range(len(rows))]
