"""How far the relay says each log goes: what a quiet tail, and the database itself, are held against."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from service.kafka import checkpoint, topics
from service.kafka.checkpoint import Checkpoint
from service.kafka.consumer import reader
from service.waiting import answered_within

_ANSWER_S_MAX: Final = 10.0


class Watermark:
    """The relay's checkpoints, read when partitions come and when one has been quiet."""

    def __init__(self, *, bootstrap: str, prefix: str, log: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._log = log
        self._consumer: AIOKafkaConsumer | None = None
        self._ends: Mapping[TopicPartition, int] = {}
        self._known: Mapping[str, Checkpoint] = {}

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Keep one client for all reads while the context is open: each new one costs Kafka much."""
        async with reader(self._bootstrap) as consumer:
            self._consumer, self._ends = consumer, {}
            try:
                yield
            finally:
                self._consumer = None

    async def read(self) -> Mapping[str, Checkpoint]:
        """Return `deliveries` and `events` → the relay's checkpoint; neither before it has published.

        One request, and nothing is read, while the checkpoints' partitions end where they did.
        """
        assert self._consumer is not None, "read while it is opened"
        partitions = [
            TopicPartition(self._prefix + topics.CHECKPOINT, partition)
            for partition in checkpoint.PARTITION_OF_STREAM.values()
        ]
        async with answered_within(_ANSWER_S_MAX, "kafka", "say where the relay's checkpoints end"):
            ends = await self._consumer.end_offsets(partitions)
        if ends != self._ends:
            found = {
                stream: await checkpoint.read(
                    self._consumer, prefix=self._prefix, log=self._log, stream=stream
                )
                for stream in checkpoint.PARTITION_OF_STREAM
            }
            self._known = {stream: published for stream, published in found.items() if published is not None}
            self._ends = ends
        return self._known


def ends(checkpoints: Mapping[str, Checkpoint]) -> Mapping[int, int]:
    """Partition of `webhooks.raw` → position of the last record that the relay committed there."""
    published = checkpoints.get("deliveries")
    return {} if published is None else published.last.get(topics.RAW, {})
