"""How far everything is, for an operator at 3 a.m.: asked of both servers, at one look.

A server that is away is part of the answer, not an error.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from projections.delivery import PARTITIONS
from service.errors import TransientError
from service.kafka import administration, checkpoint, topics
from service.kafka.checkpoint import Checkpoint
from service.kafka.consumer import reader
from service.postgres import connect, sorted_errors, statement
from service.settings import Settings

_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """What Postgres says."""

    deliveries: int
    """The log's head: the last delivery's position."""
    events: int
    quarantined: int
    parked: int
    refused: int = 0
    """Deliveries that Postgres refuses as rows of the log."""
    folded: Mapping[int, int]
    """Partition → log position up to which it is folded."""
    drained: Mapping[int, int] = field(default_factory=dict)
    """Partition of the spill → the next offset to append."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Both servers' answers; null for one that is away."""

    store: Store | None
    published: Mapping[str, Checkpoint | None] | None
    """Stream → what the relay has published of it; null for one that was never published."""
    spilled: Mapping[int, int] = field(default_factory=dict)
    """Partition of the spill → its end; empty while Kafka is away."""
    faults: Sequence[str] = ()
    """Why a part is missing, a line each."""

    def relay_lag(self, stream: str) -> int | None:
        """Rows of `deliveries` or `events` that are not in Kafka yet; null if that cannot be told."""
        if self.store is None or self.published is None:
            return None
        found = self.published[stream]
        head = self.store.deliveries if stream == "deliveries" else self.store.events
        return head - (0 if found is None else found.position)

    def projector_lag(self) -> int | None:
        """Positions between what is published and the partition that is furthest behind it."""
        if self.store is None or self.published is None:
            return None
        found = self.published["deliveries"]
        if found is None:
            return 0
        last = found.last.get(topics.RAW, {})
        behind = [
            self.store.folded.get(at, 0) for at, end in last.items() if self.store.folded.get(at, 0) < end
        ]
        return found.position - min(behind) if behind else 0

    def to_drain(self) -> int | None:
        """Spilled deliveries that are not in the log yet; null if that cannot be told."""
        if self.store is None or self.published is None:
            return None
        return sum(max(0, end - self.store.drained.get(at, 0)) for at, end in self.spilled.items())

    @property
    def settled(self) -> bool:
        """Whether everything received is in the log, published, folded, and told to the world."""
        lags = (self.to_drain(), self.relay_lag("deliveries"), self.projector_lag(), self.relay_lag("events"))
        return lags == (0, 0, 0, 0)


async def ask(settings: Settings) -> Status:
    """The status of log `settings.log_name`, within ten seconds a server."""
    faults: list[str] = []
    store, (published, spilled) = await asyncio.gather(_store(settings, faults), _kafka(settings, faults))
    return Status(store=store, published=published, spilled=spilled, faults=faults)


async def _store(settings: Settings, faults: list[str]) -> Store | None:
    try:
        connection = await connect(settings.database.url, application="status")
        try:
            with sorted_errors(lost=TransientError):
                row = await connection.fetchrow(
                    statement(Path(__file__).parent, "status"), settings.log_name, timeout=_TIMEOUT_S
                )
        finally:
            connection.terminate()
    except TransientError as error:
        faults.append(str(error))
        return None
    assert row is not None
    return Store(
        deliveries=row["deliveries"],
        events=row["events"],
        quarantined=row["quarantined"],
        parked=row["parked"],
        refused=row["refused"],
        folded=_by_partition(row["folded"]),
        drained=_by_partition(row["drained"]),
    )


def _by_partition(document: str | None) -> Mapping[int, int]:
    return {int(at): position for at, position in orjson.loads(document or "{}").items()}


async def _kafka(
    settings: Settings, faults: list[str]
) -> tuple[Mapping[str, Checkpoint | None] | None, Mapping[int, int]]:
    """The checkpoints by stream, null while Kafka is away, and the ends of the spill."""
    bootstrap, prefix = settings.kafka.bootstrap, settings.kafka.topic_prefix
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            # What is asked below, and no more: another topic that is wrong keeps nobody from seeing the lag.
            await administration.check(bootstrap, prefix, (topics.CHECKPOINT, topics.SPILL))
            async with reader(bootstrap) as consumer:
                published = {
                    stream: await checkpoint.read(
                        consumer, prefix=prefix, log=settings.log_name, stream=stream
                    )
                    for stream in checkpoint.PARTITION_OF_STREAM
                }
                spill = [TopicPartition(prefix + topics.SPILL, at) for at in range(PARTITIONS)]
                ends = await consumer.end_offsets(spill)
                return published, {at.partition: end for at, end in ends.items()}
    except TransientError as error:
        faults.append(str(error))
    except (KafkaError, TimeoutError) as error:
        faults.append(f"Kafka at {bootstrap} does not answer ({type(error).__name__})")
    return None, {}
