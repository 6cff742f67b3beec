"""Append deliveries to the log: one round trip, one transaction, dense positions in commit order.

In: rows as the ingress took them. Out: their positions, once they are fsynced. A crash before the
commit leaves no trace and no gap; one after it leaves all rows of the batch.
"""

import dataclasses
import datetime as dt
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from service import telemetry
from service.errors import DatumRefusedError, OutcomeUnknownError, TransientError
from service.postgres import Connection, Pool, borrowed, sorted_errors, statement

log = structlog.get_logger()

_SQL: Final = Path(__file__).parent

CLOCK_AHEAD_MAX = dt.timedelta(minutes=1)
"""The log's time may run this far ahead of the database's clock before it is an alarm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDelivery:
    """A delivery that has no position yet; the columns are those of `delivery_log`."""

    source: str
    account: str
    provider: str
    root: str | None
    kind: str | None
    received_at: dt.datetime
    trust: str
    remote_ip: str | None
    headers: str
    """A JSON object as text: every header's name, values only of those on the allow-list."""
    body: bytes
    body_sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Where the rows of one append are, in the order in which they were given."""

    positions: Sequence[int]
    stripped: frozenset[int]
    """Indices of the rows that Postgres took only without their root and headers (body whole)."""


class DeliveryLog:
    """The append side of `delivery_log`, for one that must know within `timeout_s` where it stands."""

    def __init__(self, pool: Pool, *, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def append(self, rows: Sequence[NewDelivery]) -> Appended:
        """Append `rows` durably, in order.

        A datum that Postgres refuses is no outage: the batch is halved until the culprit is alone,
        and that one is appended without root and headers.

        Raises TransientError while Postgres is away, OutcomeUnknownError if the connection was lost
        while the append ran: then some of `rows` may be in the log.
        """
        with sorted_errors(lost=TransientError):
            async with self._connection() as (connection, timeout_s):

                async def append(part: Sequence[NewDelivery]) -> int:
                    with sorted_errors():
                        return await append_batch(connection, part, timeout_s=timeout_s)

                return await append_piecewise(append, rows)

    async def probe(self) -> None:
        """Return if an append could succeed now: the head row was locked, written and committed.

        Raises TransientError, or what else an append would raise.
        """
        with sorted_errors(lost=TransientError):
            async with self._connection() as (connection, timeout_s):
                await connection.execute(statement(_SQL, "probe"), timeout=timeout_s)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[Connection, float]]:
        """A connection, and the time that is left for using it."""
        began = time.monotonic()
        async with borrowed(self._pool, timeout_s=self._timeout_s) as connection:
            yield connection, max(0.001, self._timeout_s - (time.monotonic() - began))


AppendOnce = Callable[[Sequence[NewDelivery]], Awaitable[int]]
"""Appends all the rows or none; their first position. Raises DatumRefusedError, or another error."""


async def append_piecewise(append: AppendOnce, rows: Sequence[NewDelivery]) -> Appended:
    """Append `rows` in order, in as few calls as the data that Postgres refuses allow.

    Those are appended without root and headers, their bodies whole.
    """
    try:
        first = await append(rows)
    except DatumRefusedError:
        if len(rows) == 1:
            return await _append_stripped(append, rows[0])
        middle = len(rows) // 2
        head = await append_piecewise(append, rows[:middle])
        tail = await _append_rest(append, rows[middle:])
        return Appended(
            positions=[*head.positions, *tail.positions],
            stripped=head.stripped | {index + middle for index in tail.stripped},
        )
    return Appended(positions=range(first, first + len(rows)), stripped=frozenset())


async def _append_rest(append: AppendOnce, rows: Sequence[NewDelivery]) -> Appended:
    try:
        return await append_piecewise(append, rows)
    except TransientError as error:
        # What stood before these rows is in the log, so of the whole nobody can say that it is not.
        raise OutcomeUnknownError(f"after a part was appended: {error}", store=error.store) from error


async def _append_stripped(append: AppendOnce, row: NewDelivery) -> Appended:
    first = await append([dataclasses.replace(row, root=None, headers="{}")])
    log.warning("log.datum_refused", position=first, source=row.source)
    return Appended(positions=range(first, first + 1), stripped=frozenset({0}))


async def append_batch(
    connection: Connection, rows: Sequence[NewDelivery], *, timeout_s: float | None = None
) -> int:
    """Append `rows` as they are; their first position, the others follow densely.

    Raises what asyncpg raises; the caller knows whether a lost connection leaves a doubt.
    """
    appended = await connection.fetchrow(
        statement(_SQL, "append_deliveries"),
        [row.source for row in rows],
        [row.account for row in rows],
        [row.provider for row in rows],
        [row.root for row in rows],
        [row.kind for row in rows],
        [row.received_at for row in rows],
        [row.trust for row in rows],
        [row.remote_ip for row in rows],
        [row.headers for row in rows],
        [row.body for row in rows],
        [row.body_sha256 for row in rows],
        timeout=timeout_s,
    )
    assert appended is not None
    if appended["clock_ahead"] > CLOCK_AHEAD_MAX:
        telemetry.LOG_CLOCK_AHEAD.inc()
        log.error("log.clock_ahead", ahead_s=appended["clock_ahead"].total_seconds())
    position: int = appended["first_position"]
    return position
