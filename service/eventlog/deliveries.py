"""Append deliveries to the log: one round trip, one transaction, dense positions in commit order.

In: rows as the ingress took them. Out: their positions, once they are fsynced. A crash before the
commit leaves no trace and no gap; one after it leaves all rows of the batch.

A row of which Postgres refuses a value costs only itself: in one transaction its neighbours are appended, and
it goes to `refused_delivery`, which numbers its rows by itself.
"""

import asyncio
import datetime as dt
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import structlog

from service import telemetry
from service.errors import InvariantError, TransientError
from service.postgres import Connection, Pool, borrowed, sorted_errors, statement
from service.waiting import pause

log = structlog.get_logger()

_SQL: Final = Path(__file__).parent

REFUSED: Final = "refused"
"""The place of a refused row in receipts, as a log's name is that of others."""

CLOCK_AHEAD_MAX = dt.timedelta(minutes=1)
"""The log's time may run this far ahead of the database's clock before it is an alarm."""

_REFUSED_CLASSES: Final = frozenset({"22", "54"})
"""SQLSTATE classes that can speak of one row: data exception, program limit exceeded."""

_PAGE_ROWS: Final = 1_000

_READY_S: Final = 1.0
"""Between looks whether a connection is open for the next append."""
_OPEN_S_MAX: Final = 5.0

NO_PARTITION: Final = "23514"
"""A row was to go to the default partition while a partition of its range was attached."""


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


_PROBE: Final = NewDelivery(
    source="probe",
    account="probe",
    provider="probe",
    root=None,
    kind=None,
    received_at=dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    trust="none",
    remote_ip=None,
    headers="{}",
    body=b"",
    body_sha256=hashlib.sha256(b"").digest(),
)
"""A row that any log takes which takes any. Never committed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appended:
    """Where the rows of one append are, in the order in which they were given."""

    positions: Sequence[int]
    """In the log; of a refused row its number in `refused_delivery`."""
    refused: frozenset[int] = frozenset()
    """Indices of the rows that Postgres refuses."""


class _RefusedError(Exception):
    """Postgres refuses a value of some row of a batch; nothing of it happened."""


def server_gives_up_s(timeout_s: float) -> float:
    """Return the `statement_timeout` for appends of `timeout_s`: Postgres says itself what did not happen."""
    return 0.75 * timeout_s


class DeliveryLog:
    """The append side of `delivery_log`, for one that must know within `timeout_s` where it stands.

    One append at a time. Its connection is open, and its statement prepared, before it comes (`keep_ready`).
    """

    def __init__(self, pool: Pool, *, timeout_s: float) -> None:
        """`pool`: its server gives up after `server_gives_up_s(timeout_s)`."""
        self._pool = pool
        self._timeout_s = timeout_s
        # Less would end here before it ends there, in doubt; an eighth is for the way.
        self._sent_with_s = 0.875 * timeout_s
        self._appending = 0
        self.tried = asyncio.Event()
        """Set once it is known whether Postgres was there at the start."""

    def health(self) -> Mapping[str, object]:
        """Whether the next append finds a connection open."""
        return {"log_connection": "open" if self._pool.get_idle_size() or self._appending else "none"}

    async def append(self, rows: Sequence[NewDelivery]) -> Appended:
        """Append `rows` durably, in order, except those that Postgres refuses: these are set aside durably.

        Raises TransientError while the log takes nothing, OutcomeUnknownError if the connection was lost
        while a commit ran: then `rows` may be in the log.
        """
        deadline = time.monotonic() + self._timeout_s
        self._appending += 1
        try:
            with sorted_errors(lost=TransientError):
                async with borrowed(self._pool, timeout_s=self._timeout_s) as connection:
                    if deadline - time.monotonic() >= self._sent_with_s:
                        return await self._append(connection, rows, deadline)
        finally:
            self._appending -= 1
        raise TransientError(
            "a connection to Postgres took too long to open: nothing was sent", store="postgres"
        )

    async def probe(self) -> None:
        """Return if an append could succeed now: the head row was locked, written and committed.

        Raises TransientError, or what else an append would raise.
        """
        with sorted_errors(lost=TransientError):
            async with borrowed(self._pool, timeout_s=self._timeout_s) as connection:
                # As long as an append has with a connection that was there: the next one finds this one.
                await connection.execute(statement(_SQL, "probe"), timeout=self._timeout_s)

    async def keep_ready(self, stopping: asyncio.Event) -> None:
        """Keep a connection open until asked to stop. Raises InvariantError if none may be used."""
        while not stopping.is_set():
            await self.make_ready()
            self.tried.set()
            await pause(_READY_S, stopping)

    async def make_ready(self) -> None:
        """Open a connection, its append prepared, if none waits.

        Raises InvariantError if it may not be used.
        """
        if self._appending or self._pool.get_idle_size():
            return
        with suppress(TransientError), sorted_errors(lost=TransientError):
            async with borrowed(self._pool, timeout_s=_OPEN_S_MAX) as connection:
                with _outage(), sorted_errors(lost=TransientError):
                    # Of nothing: it is prepared, here and in Postgres, by being done once.
                    await append_batch(connection, [], timeout_s=self._timeout_s)

    async def _append(self, connection: Connection, rows: Sequence[NewDelivery], deadline: float) -> Appended:
        try:
            with _outage(), sorted_errors():
                return await _append_all(connection, rows, timeout_s=deadline - time.monotonic())
        except _RefusedError:
            # The connection is well: it said so itself.
            return await _append_in_parts(connection, rows, timeout_s=deadline - time.monotonic())


@contextmanager
def _outage() -> Iterator[None]:
    """For a sender a log that is wrong is an outage like any other: the spill takes over."""
    try:
        yield
    except InvariantError as error:
        raise TransientError(str(error), store="postgres") from error


async def append_setting_aside(connection: Connection, rows: Sequence[NewDelivery]) -> Appended:
    """Append `rows` in the caller's transaction; set aside, in it too, those that Postgres refuses.

    Raises TransientError where a row can neither be appended nor set aside, InvariantError if the log is
    wrong, or what asyncpg raises; the caller then rolls back.
    """
    try:
        # A savepoint: a refused value must not take the rest of the transaction along.
        async with connection.transaction():
            first = await append_batch(connection, rows)
    except asyncpg.PostgresError as error:
        if not _may_speak_of_a_row(error):
            raise
        if len(rows) == 1:
            number = await _set_aside(connection, rows[0], error.sqlstate)
            return Appended(positions=[number], refused=frozenset({0}))
    else:
        return Appended(positions=range(first, first + len(rows)))
    middle = len(rows) // 2
    head = await append_setting_aside(connection, rows[:middle])
    tail = await append_setting_aside(connection, rows[middle:])
    return Appended(
        positions=[*head.positions, *tail.positions],
        refused=head.refused | {index + middle for index in tail.refused},
    )


def tell_refused(rows: Sequence[NewDelivery], appended: Appended) -> None:
    """Count and log the rows that were set aside, once that is committed."""
    telemetry.LOG_REFUSED.inc(len(appended.refused))
    for index in sorted(appended.refused):
        log.error("log.delivery_refused", number=appended.positions[index], source=rows[index].source)


async def refused(connection: Connection) -> list[asyncpg.Record]:
    """All that was set aside, in order, without the bodies."""
    found: list[asyncpg.Record] = []
    while page := await connection.fetch(
        statement(_SQL, "list_refused"), found[-1]["number"] if found else 0, _PAGE_ROWS
    ):
        found += page
    return found


async def _append_all(connection: Connection, rows: Sequence[NewDelivery], *, timeout_s: float) -> Appended:
    try:
        first = await append_batch(connection, rows, timeout_s=timeout_s)
    except asyncpg.PostgresError as error:
        if _may_speak_of_a_row(error):
            raise _RefusedError from None
        raise
    return Appended(positions=range(first, first + len(rows)))


async def _append_in_parts(
    connection: Connection, rows: Sequence[NewDelivery], *, timeout_s: float
) -> Appended:
    """What DeliveryLog.append does with a batch that was refused as a whole."""
    transaction = connection.transaction()
    with _outage(), sorted_errors(lost=TransientError):
        try:
            async with asyncio.timeout(timeout_s):
                await transaction.start()
                appended = await append_setting_aside(connection, rows)
        except BaseException:
            # Before any COMMIT: nothing happened, and Postgres rolls back once the session ends.
            connection.terminate()
            raise
    with sorted_errors():
        await transaction.commit()
    tell_refused(rows, appended)
    return appended


async def _set_aside(connection: Connection, row: NewDelivery, sqlstate: str | None) -> int:
    """Set `row` aside and return its number there.

    Raises TransientError if the log takes no other row either, or that table does not take this one.
    """
    transaction = connection.transaction()
    try:
        await transaction.start()
        await append_batch(connection, [_PROBE])
        await transaction.rollback()
        number: int = await connection.fetchval(
            statement(_SQL, "refuse_delivery"),
            row.source,
            row.account,
            row.provider,
            row.kind,
            row.received_at,
            row.trust,
            sqlstate,
            row.body,
            row.body_sha256,
        )
    except asyncpg.PostgresError as error:
        if not _may_speak_of_a_row(error):
            raise
        raise TransientError(
            f"Postgres refuses a row ({sqlstate}) and cannot set it aside either ({error.sqlstate}): "
            "look for a trigger or a constraint on delivery_log or refused_delivery",
            store="postgres",
        ) from None
    return number


def _may_speak_of_a_row(error: asyncpg.PostgresError) -> bool:
    return (error.sqlstate or "")[:2] in _REFUSED_CLASSES


async def append_batch(
    connection: Connection, rows: Sequence[NewDelivery], *, timeout_s: float | None = None
) -> int:
    """Append `rows` as they are; their first position, the others follow densely.

    Raises InvariantError if the log is wrong, and else what asyncpg raises; the caller knows whether a lost
    connection leaves a doubt.
    """
    try:
        return await _append_batch(connection, rows, timeout_s)
    except asyncpg.IntegrityConstraintViolationError as error:
        if error.sqlstate == NO_PARTITION:
            raise TransientError(
                f"a partition of the log is just being made ({error.sqlstate})", store="postgres"
            ) from None
        raise InvariantError(
            f"the log refuses every append ({error.sqlstate}): its head row does not fit its table, as after "
            "a restore of one without the other. Compare log_head.last_position with max(position) of "
            "delivery_log, and restore both from one backup"
        ) from None


async def _append_batch(connection: Connection, rows: Sequence[NewDelivery], timeout_s: float | None) -> int:
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
