"""Reading Kafka: the projector's group consumer, and the newest records of a partition.

Everything reads committed records only. An offset is where to look next, never what was processed:
that is the log position in the projector's own table.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from service.kafka.ending import end
from service.kafka.topics import RECORD_BYTES_MAX

Record: TypeAlias = ConsumerRecord[bytes, bytes]

_TIMEOUT_MS = 1_000
_WINDOW = 64
"""Offsets to look back at first: transaction markers take some, so one is not enough."""


@asynccontextmanager
async def reader(bootstrap: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any group, for `newest` and for reading a topic through."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=RECORD_BYTES_MAX,
        # A broker answers a connection's requests one by one: what is asked next waits this long
        # behind a fetch that finds nothing.
        fetch_max_wait_ms=10,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await end(consumer)


@asynccontextmanager
async def group_consumer(bootstrap: str, *, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A started member of `group` that is subscribed to nothing yet and commits no offsets."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        enable_auto_commit=False,
        isolation_level="read_committed",
        # Also where the stored offset has expired: what Kafka lacks is then filled from the log.
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=RECORD_BYTES_MAX,
        fetch_max_wait_ms=100,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await end(consumer)


async def fetch(
    consumer: AIOKafkaConsumer, *, timeout_s: float, records_max: int
) -> Mapping[TopicPartition, Sequence[Record]] | None:
    """What came within `timeout_s`, by partition; null while the group gives the member no partitions.

    For that aiokafka itself would wait without end, also while Kafka is away.
    """
    try:
        async with asyncio.timeout(2 * timeout_s):
            records: Mapping[TopicPartition, Sequence[Record]] = await consumer.getmany(
                timeout_ms=int(timeout_s * 1000), max_records=records_max
            )
    except TimeoutError:
        return None
    return records


async def newest(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], accept: Callable[[Record], bool]
) -> Mapping[TopicPartition, Record]:
    """The last committed record of each of `partitions` that `accept` takes, where there is one.

    Reads backwards in growing windows, so the cost does not depend on the topics' length.
    """
    consumer.assign(partitions)
    begins = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    found = {}
    for partition in partitions:
        if begins[partition] < ends[partition]:
            record = await _newest(consumer, partition, begins[partition], ends[partition], accept)
            if record is not None:
                found[partition] = record
    return found


async def _newest(
    consumer: AIOKafkaConsumer,
    partition: TopicPartition,
    begin: int,
    end: int,
    accept: Callable[[Record], bool],
) -> Record | None:
    consumer.assign([partition])
    window = _WINDOW
    while end > begin:
        start = max(begin, end - window)
        for record in reversed(await _between(consumer, partition, start, end)):
            if accept(record):
                return record
        end = start
        window *= 4
    return None


async def _between(
    consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, stop: int
) -> Sequence[Record]:
    consumer.seek(partition, start)
    records: list[Record] = []
    while await consumer.position(partition) < stop:
        batches = await consumer.getmany(partition, timeout_ms=_TIMEOUT_MS)
        records.extend(record for record in batches.get(partition, ()) if record.offset < stop)
    return records
