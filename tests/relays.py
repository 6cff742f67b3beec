"""Relays and what they left in Kafka, for tests."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

from service.kafka import topics
from service.kafka.consumer import reader
from service.relay.relay import Relay
from service.relay.streams import Deliveries, Events
from service.settings import RelaySettings
from tests.servers import Kafka

SETTINGS = RelaySettings(rows_max=100, poll_interval_s=0.05, lock_poll_s=0.02, retry_after_s=0.02)


def relay_of(stream: str, database_url: str, kafka: Kafka, settings: RelaySettings = SETTINGS) -> Relay:
    """The relay of `deliveries` or `events` of log `main`."""
    return Relay(
        Deliveries("main") if stream == "deliveries" else Events(),
        database_url=database_url,
        bootstrap=kafka.bootstrap,
        prefix=kafka.prefix,
        log="main",
        settings=settings,
    )


async def drain(relay: Relay) -> int:
    """Publish all that the log holds, as a leader of its own; the number of rows."""
    published = 0
    async with relay.lead(asyncio.Event()) as leadership:
        assert leadership is not None
        while count := await leadership.run_once():
            published += count
    return published


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A committed record of a topic."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    headers: dict[str, str]

    @property
    def position(self) -> int:
        return int(self.headers["position"])

    @property
    def previous(self) -> int:
        return int(self.headers.get("prev", 0))


async def published(kafka: Kafka, names: Sequence[str] = (topics.RAW,)) -> list[Published]:
    """All committed records of `names`, in order within each partition."""
    found: list[Published] = []
    async with reader(kafka.bootstrap) as consumer:
        partitions = [
            TopicPartition(kafka.prefix + name, partition) for name in names for partition in range(12)
        ]
        consumer.assign(partitions)
        ends = await _ends(kafka, partitions)
        for partition in partitions:
            consumer.seek(partition, 0)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for partition, records in (await consumer.getmany(timeout_ms=500)).items():
                found += [
                    Published(
                        topic=partition.topic.removeprefix(kafka.prefix),
                        partition=partition.partition,
                        key=(record.key or b"").decode(),
                        value=record.value,
                        headers={name: value.decode() for name, value in record.headers},
                    )
                    for record in records
                ]
    return found


async def _ends(kafka: Kafka, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
    # Not the committed ends: a transaction's marker arrives a moment after its commit returns.
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, enable_auto_commit=False) as consumer:
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions)
    return ends
