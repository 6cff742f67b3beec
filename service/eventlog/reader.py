"""Read deliveries back from the log: the same value that the relay carries through Kafka."""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from projections.delivery import Delivery
from service.errors import InvariantError
from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent
_POSTGRES_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01T00:00:00Z."""
_INSTANTS: Final = struct.Struct(">qq")
"""received_at and recorded_at as Postgres sends them: microseconds since 2000, big-endian.

Datetimes in between would cost a tenth of all the time of a rebuild's reading.
"""


async def between(
    connection: Connection, *, after: int, up_to: int, rows_max: int, bytes_max: int
) -> list[Delivery]:
    """The next deliveries with after < position ≤ up_to, in log order, bounded; empty at the end."""
    # Nearly always all are short, and need no sum to be bounded: that costs half as much as the reading.
    last = min(after + rows_max, up_to)
    rows = await connection.fetch(statement(_SQL, "short_deliveries"), after, last, bytes_max // rows_max)
    if len(rows) < last - after:
        rows = await connection.fetch(
            statement(_SQL, "deliveries_between"), after, up_to, rows_max, bytes_max
        )
    return [delivery_of(row) for row in rows]


def require_dense(page: Sequence[Delivery], after: int) -> None:
    """Raise InvariantError unless `page` holds the positions right after `after`, one by one."""
    if not page or page[-1].position != after + len(page):
        raise holes("log", after)


def holes(log: str, after: int) -> InvariantError:
    """What to raise where positions of `log`, as an operator calls it, are missing after `after`."""
    return InvariantError(f"the {log} has holes after position {after}: stop, and restore it from a backup")


async def at(connection: Connection, positions: Sequence[int]) -> list[Delivery]:
    """The deliveries at `positions`, in log order."""
    rows = await connection.fetch(statement(_SQL, "deliveries_at"), positions)
    return [delivery_of(row) for row in rows]


def delivery_of(row: asyncpg.Record) -> Delivery:
    """The delivery in a row of these queries: its columns in their order."""
    position, source, account, provider, root, kind, trust, instants, body = row
    received_at, recorded_at = _INSTANTS.unpack(instants)
    return Delivery(
        position=position,
        source=source,
        account=account,
        provider=provider,
        root=root,
        kind=kind,
        trust=trust,
        received_at=(received_at + _POSTGRES_EPOCH_US) * 1000,
        recorded_at=(recorded_at + _POSTGRES_EPOCH_US) * 1000,
        body=body,
    )
