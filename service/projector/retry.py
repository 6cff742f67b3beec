"""Read again, from the log, what could not be read or folded before.

Each delivery (each parked root) is its own transaction. It locks the position row of its root's
partition first, so the running projector folds nothing of that root meanwhile; what it writes is
what the projector would have written. A crash in between leaves the rest for the next retry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from projections.delivery import Delivery
from projections.facts import Reading, Unreadable
from projections.fold import interpret
from service import readmodels
from service.errors import PermanentError, TransientError
from service.eventlog import reader as log_reader
from service.kafka.partitioner import partition_of
from service.postgres import Pool, sorted_errors, statement
from service.readmodels import store
from service.readmodels.apply import BatchTooLargeError, Folder
from service.readmodels.positions import Positions

_SQL: Final = Path(readmodels.__file__).parent
_PAGE_ROWS: Final = 100
_PARKED_ROWS_MAX: Final = 200
"""Of one transaction: it holds the position row, and the projector waits behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What a retry achieved."""

    folded: int = 0
    still: int = 0
    """Deliveries that stay in quarantine, or that wait for a parked root."""


@dataclass(frozen=True, slots=True)
class _Unparked:
    """What became of the deliveries of a parked root."""

    folded: int
    still: int
    """Deliveries that wait again, for the root failed again."""
    waiting: int = 0
    """Deliveries of a part that is still to come."""


class Retry:
    """Retries of one log."""

    def __init__(
        self, *, pool: Pool, log: str, reading: Reading, folder: Folder, positions: Positions
    ) -> None:
        self._pool = pool
        self._log = log
        self._reading = reading
        self._folder = folder
        self._positions = positions

    async def quarantined(self, only: Sequence[int] | None = None) -> Retried:
        """Read the quarantined deliveries again, in log order; `only` those at these positions.

        Raises InvariantError if another version of the fold owns the states.
        """
        folded = still = 0
        after = 0
        while page := await self._page(after):
            after = page[-1].position
            for delivery in page:
                if only is not None and delivery.position not in only:
                    continue
                if await self._one(delivery):
                    folded += 1
                else:
                    still += 1
        return Retried(folded=folded, still=still)

    async def parked(self, roots: Sequence[str]) -> Retried:
        """Fold the deliveries that wait for each of `roots`; a root that fails again is parked again."""
        folded = still = 0
        for root in roots:
            found = await self._root(root)
            folded += found.folded
            still += found.still
        return Retried(folded=folded, still=still)

    async def _page(self, after: int) -> list[Delivery]:
        with sorted_errors(lost=TransientError):
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(
                    statement(_SQL, "list_quarantined"), self._log, after, _PAGE_ROWS
                )
                return await log_reader.at(connection, [row["position"] for row in rows])

    async def _one(self, delivery: Delivery) -> bool:
        """Whether the delivery is folded now: else it stays in quarantine, or waits for its parked root."""
        try:
            root = interpret(delivery, self._reading, retrying=True).root
        except Unreadable as error:
            await self._still(delivery, error.reason)
            return False
        except Exception as error:  # noqa: BLE001  An adapter's fault: the others are read all the same.
            await self._still(delivery, f"the adapter failed: {type(error).__name__}")
            return False
        # The partition to lock is that of the root which is read now: the row may have had none.
        partition = partition_of(root)
        with sorted_errors(lost=TransientError):
            async with self._pool.acquire() as connection:
                await self._positions.places(connection, [partition])
                async with connection.transaction():
                    generation = await self._positions.lock(connection, {partition: None})
                    taken = await connection.execute(
                        statement(_SQL, "take_quarantined"), self._log, delivery.position
                    )
                    if taken != "DELETE 1":  # another retry was faster
                        return True
                    await store.remember_retried(connection, self._log, root, [delivery.position])
                    applied = await self._folder.apply(
                        connection, [delivery], generation=generation, retrying=True
                    )
        return not applied.parked

    async def _still(self, delivery: Delivery, reason: str) -> None:
        # Only the reason is new: the event that told of it went out when it came in.
        with sorted_errors(lost=TransientError):
            async with self._pool.acquire() as connection:
                await connection.execute(
                    statement(_SQL, "renew_reason"), self._log, delivery.position, reason
                )

    async def _root(self, root: str) -> "_Unparked":
        """Fold what waits for `root`, in log order, part by part: the root stays parked for the rest."""
        folded, rows_max = 0, _PARKED_ROWS_MAX
        while True:
            try:
                part = await self._part(root, rows_max)
            except BatchTooLargeError:
                rows_max //= 2
                continue
            if part.still:
                return _Unparked(folded + part.folded, part.still)
            folded += part.folded
            if not part.waiting:
                return _Unparked(folded, 0)

    async def _part(self, root: str, rows_max: int) -> "_Unparked":
        """One transaction: at most `rows_max` of the deliveries, the others parked again behind them."""
        partition = partition_of(root)
        with sorted_errors(lost=TransientError):
            async with self._pool.acquire() as connection, connection.transaction():
                generation = await self._positions.lock(connection, {partition: None})
                taken = await connection.fetchrow(statement(_SQL, "take_parked"), root)
                if taken is None:
                    raise PermanentError(f"{root} is not parked: see `recibo parked list`")
                now, later = taken["positions"][:rows_max], taken["positions"][rows_max:]
                await store.remember_retried(connection, self._log, root, now)
                applied = await self._folder.apply(
                    connection, await log_reader.at(connection, now), generation=generation, retrying=True
                )
                if later:
                    await store.park(
                        connection,
                        root=root,
                        log=self._log,
                        partition=partition,
                        positions=later,
                        reason=taken["reason"],
                    )
        if applied.parked:
            return _Unparked(0, len(now) + len(later))
        return _Unparked(len(now), 0, waiting=len(later))
