"""Reading Kafka: the projector's group consumer, and the newest records of a partition.

Everything reads committed records only. An offset is where to look next, never what was processed:
that is the log position in the projector's own table.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition

from service.kafka.ending import end
from service.kafka.topics import RECORD_BYTES_MAX
from service.waiting import answered_within

Record: TypeAlias = ConsumerRecord[bytes, bytes]

_TIMEOUT_MS = 1_000
_READ_S_MAX: Final = 15.0
"""For one window of `newest`: a fetcher that died would be asked without end."""
_ANSWER_S: Final = 0.5
"""A poll with partitions returns within its own time limit and this much more."""
_WINDOW = 64
"""Offsets to look back at first: transaction markers take some, so one is not enough."""


@asynccontextmanager
async def reader(bootstrap: str, *, fetch_max_wait_ms: int = 10) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer outside any group, for `newest` and for reading a topic through.

    A fetch that finds nothing is answered after `fetch_max_wait_ms`, and a broker answers a connection's
    requests one by one: the next one waits behind it. With 10 ms a consumer that stays assigned asks a
    hundred times a second, which costs it 5 % of a core and Kafka more: give one that waits for records a
    second or so.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=RECORD_BYTES_MAX,
        fetch_max_wait_ms=fetch_max_wait_ms,
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await end(consumer)


class GroupMember:
    """A member of a consumer group that is subscribed to one topic and commits no offsets.

    What aiokafka 0.14 makes of a careless caller, and what is done here instead:

    - A `getmany` that is cancelled counts as under way for ever, so `max_poll_interval` never ends a member
      that hangs. While the group gives the member no partitions `getmany` does not return: it goes on beside
      the caller, who asks again.
    - `seek` raises for a partition that went to another member: only assigned ones are sought.
    - A partition that came is fetched from wherever the client thinks, and what the caller seeks then waits
      behind that fetch: so partitions come paused, and a seek begins their reading.
    """

    def __init__(self, consumer: AIOKafkaConsumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._polling: asyncio.Task[Mapping[TopicPartition, Sequence[Record]]] | None = None

    @property
    def assigned(self) -> frozenset[int]:
        """The partitions that the member reads now."""
        return frozenset(partition.partition for partition in self._consumer.assignment())

    async def fetch(
        self, *, timeout_s: float, gather_s: float, records_max: int
    ) -> Mapping[int, Sequence[Record]] | None:
        """Return records by partition; null while the group gives the member no partitions.

        Waits up to `timeout_s` for the first record, and then `gather_s` for those beside it: the partitions
        of one transaction of the relay become readable one after another. A full fetch waits for none.
        """
        fetched = await self._poll(timeout_s, records_max)
        if not fetched:
            return fetched
        left = records_max - _count(fetched)
        if left > 0 and gather_s > 0:
            await asyncio.sleep(gather_s)
            for partition, records in (await self._poll(0, left) or {}).items():
                fetched[partition] = [*fetched.get(partition, ()), *records]
        return fetched

    def seek(self, partition: int, offset: int) -> bool:
        """Read `partition` on from `offset`; return False where it is not assigned any more."""
        at = TopicPartition(self._topic, partition)
        if at not in self._consumer.assignment():
            return False
        self._consumer.seek(at, offset)
        self._consumer.resume(at)
        return True

    async def has_more(self, partition: int) -> bool:
        """Return whether Kafka has, or may have, records of `partition` that were not handed out yet.

        aiokafka hands out one partition after another, so behind a backlog the others only seem quiet.
        """
        at = TopicPartition(self._topic, partition)
        if at not in self._consumer.assignment():
            return True
        end = self._consumer.last_stable_offset(at)
        return end is None or await self._consumer.position(at) < end

    async def stop_polling(self) -> None:
        """Give up a poll that is still under way: the member is thrown away."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _poll(self, timeout_s: float, records_max: int) -> dict[int, Sequence[Record]] | None:
        if self._polling is None:
            self._polling = asyncio.create_task(
                self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=records_max)
            )
        await asyncio.wait({self._polling}, timeout=2 * timeout_s + _ANSWER_S)
        if not self._polling.done():
            return None
        polled, self._polling = self._polling, None
        return {partition.partition: records for partition, records in polled.result().items()}


@asynccontextmanager
async def group_member(
    bootstrap: str, *, group: str, instance: str | None, topic: str, on_rebalance: Callable[[], None]
) -> AsyncIterator[GroupMember]:
    """Yield a started member of `group`, subscribed to `topic`; nothing is read before it is sought.

    `on_rebalance` is called whenever partitions go or come: the client has forgotten all offsets then.
    With `instance` the membership is static (KIP-345): a process that starts with the name of one that died
    takes over its partitions at once, and no other member stops for that. No two live processes may share a
    name.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance,
        enable_auto_commit=False,
        isolation_level="read_committed",
        # Also where the stored offset has expired: what Kafka lacks is then filled from the log.
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=RECORD_BYTES_MAX,
        fetch_max_wait_ms=500,
    )
    member = GroupMember(consumer, topic)
    try:
        await consumer.start()
        consumer.subscribe([topic], listener=_Rebalance(consumer, on_rebalance))
        yield member
    finally:
        await member.stop_polling()
        await end(consumer)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types.
    """Pauses what comes. No more than that, for aiokafka swallows what a listener raises."""

    def __init__(self, consumer: AIOKafkaConsumer, on_rebalance: Callable[[], None]) -> None:
        self._consumer = consumer
        self._on_rebalance = on_rebalance

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:  # noqa: ARG002
        self._on_rebalance()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        self._on_rebalance()


def _count(fetched: Mapping[int, Sequence[Record]]) -> int:
    return sum(map(len, fetched.values()))


async def newest(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], accept: Callable[[Record], bool]
) -> Mapping[TopicPartition, Record]:
    """The last committed record of each of `partitions` that `accept` takes, where there is one.

    Reads backwards in growing windows, so the cost does not depend on the topics' length.
    """
    consumer.assign(partitions)
    async with answered_within(_READ_S_MAX, "kafka", "say where its topics begin and end"):
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
    found = {}
    for partition in partitions:
        if begins[partition] < ends[partition]:
            record = await _newest(consumer, partition, begins[partition], ends[partition], accept)
            if record is not None:
                found[partition] = record
    # What stays assigned is fetched again and again. Paused, not given back: aiokafka's fetcher can swallow
    # the cancellation by which `stop` ends it while it gives up an assignment, and `stop` then waits without
    # end.
    consumer.pause(*consumer.assignment())
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
    async with answered_within(_READ_S_MAX, "kafka", f"give the end of {partition.topic}"):
        while await consumer.position(partition) < stop:
            batches = await consumer.getmany(partition, timeout_ms=_TIMEOUT_MS)
            records.extend(record for record in batches.get(partition, ()) if record.offset < stop)
    return records
