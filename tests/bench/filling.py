"""A log of many rows, made fast: the lives of all four providers, by COPY, as the owner."""

import datetime as dt
from collections.abc import Iterator
from itertools import islice

import asyncpg

from service.eventlog.deliveries import NewDelivery
from service.simulation.mixing import Mixture
from service.simulation.scenarios import deliveries
from tests.replays import SOURCES, row_of

_BATCH = 5_000
_BEGIN = dt.datetime(2025, 11, 3, 12, 0, 0, tzinfo=dt.UTC)
_COLUMNS = (
    "position", "source", "account", "provider", "root", "kind", "received_at", "recorded_at", "trust",
    "remote_ip", "headers", "body", "body_sha256",
)  # fmt: skip
MIXTURE = Mixture(duplicates=0.05, reordered=0.05, unknown=0.001)


async def fill(database_url: str, rows: int, *, seed: int = 1) -> None:
    """Append `rows` deliveries to the empty log of the database, whose owner `database_url` logs in as."""
    owner = await asyncpg.connect(database_url)
    stream = map(row_of, deliveries(seed, SOURCES, MIXTURE))
    for first in range(1, rows + 1, _BATCH):
        count = min(_BATCH, rows + 1 - first)
        recorded_at = _BEGIN + dt.timedelta(seconds=first)
        async with owner.transaction():
            await owner.copy_records_to_table(
                "delivery_log", columns=_COLUMNS, records=_records(stream, first, count, recorded_at)
            )
            await owner.execute(
                "update log_head set last_position = $1, last_recorded_at = $2 where log = 'deliveries'",
                first + count - 1,
                recorded_at,
            )
        await owner.fetchval("select ensure_partitions('deliveries', 8)")
    await owner.execute("vacuum analyze delivery_log")
    await owner.close()


def _records(
    stream: Iterator[NewDelivery], first: int, count: int, recorded_at: dt.datetime
) -> Iterator[tuple[object, ...]]:
    for position, row in enumerate(islice(stream, count), start=first):
        yield (
            position, row.source, row.account, row.provider, row.root, row.kind, row.received_at, recorded_at,
            row.trust, row.remote_ip, row.headers, row.body, row.body_sha256,
        )  # fmt: skip
