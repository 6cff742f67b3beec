"""Read deliveries back from the log: the same value that the relay carries through Kafka."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from projections.delivery import Delivery
from service.kafka.headers import nanoseconds
from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent


async def between(
    connection: Connection, *, after: int, up_to: int, rows_max: int, bytes_max: int
) -> list[Delivery]:
    """The next deliveries with after < position ≤ up_to, in log order, bounded; empty at the end."""
    rows = await connection.fetch(statement(_SQL, "deliveries_between"), after, up_to, rows_max, bytes_max)
    return [delivery_of(row) for row in rows]


async def at(connection: Connection, positions: Sequence[int]) -> list[Delivery]:
    """The deliveries at `positions`, in log order."""
    rows = await connection.fetch(statement(_SQL, "deliveries_at"), positions)
    return [delivery_of(row) for row in rows]


def delivery_of(row: asyncpg.Record) -> Delivery:
    """The delivery in a row that has all columns but headers and digest."""
    return Delivery(
        position=row["position"],
        source=row["source"],
        account=row["account"],
        provider=row["provider"],
        root=row["root"],
        kind=row["kind"],
        trust=row["trust"],
        received_at=nanoseconds(row["received_at"]),
        recorded_at=nanoseconds(row["recorded_at"]),
        body=row["body"],
    )
