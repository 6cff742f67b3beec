"""Hold every position row, so that nobody folds, and never for long if this process freezes.

In: the owner's connection, and work to be done while nobody folds. Out: what the work returns, committed.

Each step of the work renews a time limit of the transaction. If the client stops (SIGSTOP, a suspended
machine), Postgres ends the session when the limit passes, whether the session is idle or a statement runs:
the rows are free again and nothing has changed. Another session that is in the way ends the attempt within
a few seconds, and the attempt is made again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg
import structlog

from service.crashpoints import crashpoint
from service.errors import TransientError
from service.postgres import Connection
from service.readmodels.positions import Positions

logger = structlog.get_logger()

HOLD_LIMIT_S: Final = 20.0
"""Between two renewals. A page of work takes one or two seconds; a projector waits for its row for 30."""
_LOCK_TIMEOUT_MS: Final = 3_000
"""How long the projector, and readers, may wait while this waits for locks that another session has."""
_TRIES_MAX: Final = 10
_RETRY_AFTER_S: Final = 1.0

_IN_THE_WAY: Final = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
_LOST: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidTransactionStateError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

T = TypeVar("T")


class SessionEndedError(TransientError):
    """The session that held the position rows has ended; only a COMMIT under way may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Every position row, locked by a transaction of `owner`."""

    owner: Connection
    places: Mapping[int, int]
    """Partition → log position up to which it is folded; without those that have no row."""
    fold_versions: frozenset[str]

    async def renew(self, limit_s: float = HOLD_LIMIT_S) -> None:
        """Give the transaction `limit_s` from now on, until the next renewal or the commit."""
        # Postgres starts the clock only when the limit was off before.
        await self.owner.execute(
            f"set local transaction_timeout = 0; set local transaction_timeout = {round(limit_s * 1000)}"
        )


@asynccontextmanager
async def positions_held(
    owner: Connection, positions: Positions, *, missing: Mapping[int, int] | None = None
) -> AsyncIterator[Hold]:
    """Hold all position rows in a transaction; first make those that are missing, where `missing` says.

    Raises SessionEndedError where Postgres has ended the session meanwhile, and an error for `retried`
    where another session keeps a row for more than a few seconds.
    """
    try:
        async with owner.transaction():
            await owner.execute(
                f"set local transaction_timeout = {round(HOLD_LIMIT_S * 1000)}; "
                f"set local lock_timeout = {_LOCK_TIMEOUT_MS}"
            )
            async with locking(owner):
                if missing is not None:
                    await positions.place(owner, missing)
                held = await positions.hold(owner)
            crashpoint("replay.positions_held")
            yield Hold(owner=owner, places=held.places, fold_versions=held.fold_versions)
    except _LOST as error:
        if not await _has_ended(owner):
            raise
        raise SessionEndedError(
            "Postgres ended the session that held the position rows, because the command made no progress "
            "with them for too long, or because Postgres itself was restarted",
            store="postgres",
        ) from error


async def _has_ended(owner: Connection) -> bool:
    # Asked, not looked up: asyncpg can raise before it knows that the connection is closed.
    try:
        await owner.execute("select 1")
    except _LOST:
        return True
    return False


@asynccontextmanager
async def locking(owner: Connection) -> AsyncIterator[None]:
    """Give each statement that takes several locks a limit in all, and not only for each lock."""
    await owner.execute(f"set local statement_timeout = {_LOCK_TIMEOUT_MS}")
    yield
    await owner.execute("set local statement_timeout = 0")


async def retried(attempt: Callable[[int], Awaitable[T]], tell: Callable[[str, int, int], None]) -> T:
    """Return what `attempt`, called with its number from 1, returns; try again where locks are in the way.

    Raises TransientError after ten attempts.
    """
    for number in range(1, _TRIES_MAX + 1):
        try:
            return await attempt(number)
        except _IN_THE_WAY as error:
            logger.warning("replay.locks_in_the_way", attempt=number, sqlstate=error.sqlstate)
            tell("waiting for locks", number, _TRIES_MAX)
            await asyncio.sleep(_RETRY_AFTER_S)
    raise TransientError(
        "long queries on the live state tables, or a projector that stands still, keep the locks that this "
        "needs: end them (pg_stat_activity), then run the same command again; the rebuilt states are kept"
    )
