"""What came of the deliveries, read back from where it went: states from Postgres, events from Kafka."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from pathlib import Path
from typing import Final

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from projections.delivery import PARTITIONS
from service.demo.chapters import State
from service.errors import TransientError
from service.kafka import topics
from service.kafka.consumer import reader
from service.kafka.headers import receipt
from service.postgres import Connection, connect, sorted_errors, statement
from service.readmodels import store
from service.settings import Settings

_READ_S_MAX: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One row of a state table."""

    kind: str
    root: str
    ordinal: int
    """Of a dispute; else 0."""
    state: State
    facts: int


@dataclass(frozen=True, slots=True)
class Told:
    """A domain event as it stands in Kafka."""

    position: int
    """In the event log."""
    type: str
    id: str
    root: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All of it."""

    deliveries: int
    """The log's head."""
    aggregates: Sequence[Aggregate]
    recoveries: Mapping[str, str]
    """Root of a sale → root of the cart that it recovered."""
    quarantined: Mapping[str, str]
    """Receipt → reason."""
    events: Sequence[Told]
    """As they stand in each partition; between partitions in the order of the event log."""

    @property
    def roots(self) -> set[str]:
        return {aggregate.root for aggregate in self.aggregates}


async def find(settings: Settings) -> Found:
    """Everything that is there now. Raises TransientError where a server is away."""
    connection = await connect(settings.database.url, application="demo")
    try:
        with sorted_errors(lost=TransientError):
            return Found(
                deliveries=await connection.fetchval(
                    "select last_position from log_head where log = 'deliveries'"
                ),
                aggregates=await _aggregates(connection),
                recoveries={
                    row["order_root"]: row["cart_root"]
                    for row in await connection.fetch("select order_root, cart_root from cart_recovery")
                },
                quarantined={
                    receipt(settings.log_name, row["position"]): row["reason"]
                    for row in await store.quarantined(connection, settings.log_name)
                },
                events=await _events(settings),
            )
    finally:
        connection.terminate()


async def _aggregates(connection: Connection) -> Sequence[Aggregate]:
    return [
        Aggregate(
            kind=row["kind"],
            root=row["root"],
            ordinal=row["ordinal"],
            state=State(
                row["status"],
                row["amount_cents"],
                row["refunded_cents"],
                tuple(flag["name"] for flag in orjson.loads(row["flags"])),
            ),
            facts=row["facts"],
        )
        for row in await connection.fetch(statement(Path(__file__).parent, "aggregates"))
    ]


async def _events(settings: Settings) -> Sequence[Told]:
    prefix = settings.kafka.topic_prefix
    partitions = [
        TopicPartition(prefix + name, number) for name in topics.DOMAIN for number in range(PARTITIONS)
    ]
    told: dict[TopicPartition, list[Told]] = {partition: [] for partition in partitions}
    try:
        async with asyncio.timeout(_READ_S_MAX), reader(settings.kafka.bootstrap) as consumer:
            consumer.assign(partitions)
            for partition, begin in (await consumer.beginning_offsets(partitions)).items():
                consumer.seek(partition, begin)
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(at) < end for at, end in ends.items()]):
                for partition, records in (await consumer.getmany(timeout_ms=100)).items():
                    told[partition] += [_told(dict(record.headers)) for record in records]
    except (KafkaError, TimeoutError) as error:
        raise TransientError(f"the events cannot be read back from Kafka: {error!r}") from error
    # Merged, not sorted: were a partition out of order, it would show.
    return list(merge(*told.values(), key=lambda event: event.position))


def _told(headers: Mapping[str, bytes]) -> Told:
    return Told(
        position=int(headers["position"]),
        type=headers["ce_type"].decode(),
        id=headers["ce_id"].decode(),
        root=headers["ce_partitionkey"].decode(),
        version=headers["ce_sequence"].decode(),
    )
