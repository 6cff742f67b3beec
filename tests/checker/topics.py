"""Reads topics through, committed records only, up to where they end when the reading begins."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import murmur2

from tests.checker.passage import Place

RAW: Final = "webhooks.raw"
CHECKPOINT: Final = "relay.checkpoint"
KINDS: Final = ("orders", "disputes", "subscriptions", "withdrawals", "carts")
COMPACTED: Final = frozenset(f"{kind}.state" for kind in KINDS)
EVENTS: Final = (*KINDS, *sorted(COMPACTED), "webhooks.quarantine")
_STALLED_S: Final = 30
_FETCH_BYTES: Final = 1024 * 1024
"""Of a partition; a larger batch comes all the same, alone."""


class Message(NamedTuple):
    """A committed record."""

    topic: str
    """Without prefix."""
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


class Broker:
    """The topics of one installation."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """How many partitions each topic has; none where it is missing."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
            described: list[dict[str, Any]] = await admin.describe_topics(
                [self._prefix + topic for topic in topics]
            )
        finally:
            await admin.close()
        return {topic["topic"].removeprefix(self._prefix): len(topic["partitions"]) for topic in described}

    async def read(self, topics: Sequence[str]) -> AsyncIterator[Message]:
        """Every committed record, in the order of each partition. Raises TimeoutError where none comes."""
        counts = await self.partitions(topics)
        places = [
            TopicPartition(self._prefix + topic, partition)
            for topic, count in counts.items()
            for partition in range(count)
        ]
        async with self._consumer() as consumer:
            consumer.assign(places)
            begins = await consumer.beginning_offsets(places)
            ends = await consumer.end_offsets(places)
            open_places = {place for place in places if begins[place] < ends[place]}
            stalled_s = 0
            while open_places:
                batches = await consumer.getmany(*open_places, timeout_ms=1000)
                for place, records in batches.items():
                    for record in records:
                        if record.offset < ends[place]:
                            yield self._message(record)
                # Transaction markers are not handed out, but move the position.
                done = {place for place in open_places if await consumer.position(place) >= ends[place]}
                open_places -= done
                stalled_s = 0 if batches or done else stalled_s + 1
                if stalled_s >= _STALLED_S:
                    raise TimeoutError(f"no record within {stalled_s} s, not at the end of {open_places}")

    async def checkpoint(self, key: str) -> dict[Place, int]:
        """The last position of each topic and partition, by the relay's newest checkpoint `key`."""
        newest: dict[Place, int] = {}
        async for message in self.read([CHECKPOINT]):
            if message.key == key.encode() and message.value is not None:
                last: dict[str, dict[str, int]] = orjson.loads(message.value)["last"]
                newest = {
                    (topic, int(partition)): position
                    for topic, partitions in last.items()
                    for partition, position in partitions.items()
                }
        return newest

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_bytes=16 * _FETCH_BYTES,
            fetch_max_wait_ms=50,
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()

    def _message(self, record: Any) -> Message:
        return Message(
            record.topic.removeprefix(self._prefix),
            record.partition,
            record.offset,
            record.key,
            record.value,
            dict(record.headers),
        )


@lru_cache(maxsize=100_000)
def partition(key: str, count: int) -> int:
    """Where Kafka's own rule puts a key."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % max(count, 1))
