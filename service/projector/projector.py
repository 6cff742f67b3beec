"""Fold what the relay published into states, partition by partition, in one transaction per batch.

In: `webhooks.raw`, as one member of a consumer group. Out: states, outbox rows and the new positions,
together or not at all: a crash anywhere repeats a batch from its beginning and writes nothing twice.

Kafka is not trusted for completeness. By `position` repeats are dropped, by `prev` a gap is seen and
filled from the log; a partition that is quiet compares itself with the relay's checkpoint, so a gap
at its tail shows too. The checkpoints' own rows must be in this database, whenever partitions are taken
over or have been quiet: an older replica, or another log, is refused.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition

from projections.delivery import Delivery, routing_key
from service import telemetry
from service.crashpoints import crashpoint
from service.errors import InvariantError, TransientError
from service.eventlog import marks
from service.eventlog import reader as log_reader
from service.kafka import topics
from service.kafka.checkpoint import Checkpoint
from service.kafka.consumer import Record, fetch, group_consumer
from service.kafka.headers import delivery_of
from service.kafka.partitioner import partition_of
from service.postgres import Pool, borrowed, sorted_errors, transaction
from service.projector.watermark import Watermark, ends
from service.readmodels.apply import Folder
from service.readmodels.positions import OutrunError, Place, Positions
from service.settings import ProjectorSettings
from service.waiting import Waiting

logger = structlog.get_logger()

_CONNECT_S_MAX: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A record of the topic, read."""

    delivery: Delivery
    previous: int
    """The log position before it in this partition; 0 at the first."""
    next_offset: int


class Projector:
    """One member of the consumer group; several share the partitions."""

    def __init__(
        self,
        *,
        pool: Pool,
        bootstrap: str,
        prefix: str,
        log: str,
        folder: Folder,
        positions: Positions,
        watermark: Watermark,
        settings: ProjectorSettings,
    ) -> None:
        self._pool = pool
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._log = log
        self._folder = folder
        self._positions = positions
        self._watermark = watermark
        self._settings = settings
        self._places: dict[int, Place] = {}
        self._heard_at: dict[int, float] = {}
        self._asked_at = 0.0
        self._log_header = log.encode()
        self.waiting = Waiting("projector", first_s=settings.retry_after_s)

    @property
    def places(self) -> Mapping[int, Place]:
        """Where this process believes its partitions to stand."""
        return self._places

    async def run(self, stopping: asyncio.Event) -> None:
        """Fold until asked to stop. Raises InvariantError: a human decides."""
        while not stopping.is_set():
            try:
                async with self.joined() as consumer:
                    self.waiting.over("kafka")
                    while not stopping.is_set():
                        await self.run_once(consumer)
                        # A pass without places has not asked Postgres.
                        if self._places:
                            self.waiting.over()
            except InvariantError:
                raise
            except Exception as error:  # noqa: BLE001  Whatever aiokafka or asyncpg call it.
                # Any doubt: nothing is lost by starting over.
                telemetry.PROJECTOR_RESTARTS.inc()
                self.forget(list(self._places))
                await self.waiting.after(error, stopping)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer that is a member of the group and looks at what it is assigned."""
        async with AsyncExitStack() as stack:
            consumer = await stack.enter_async_context(
                group_consumer(self._bootstrap, group=f"{self._prefix}projector-{self._log}")
            )
            consumer.subscribe([self._prefix + topics.RAW], listener=_Rebalance(self))
            yield consumer

    async def run_once(self, consumer: AIOKafkaConsumer) -> int:
        """Fold one batch; the number of deliveries that it folded, repeats not counted.

        Raises TransientError, or what aiokafka raises; nothing of the batch is written then.
        """
        fetched = await fetch(
            consumer, timeout_s=self._settings.poll_timeout_s, records_max=self._settings.batch_rows_max
        )
        try:
            if fetched is None:
                return await self._fill_quiet_partitions(consumer, time.monotonic())
            # A partition that has just come is read from wherever the client began: not by us.
            incoming = {
                partition.partition: self._incoming(records)
                for partition, records in fetched.items()
                if partition.partition in self._places
            }
            await self._take_over(consumer)
            now = time.monotonic()
            self._heard_at.update(dict.fromkeys(incoming, now))
            folded = await self._fold(incoming) if incoming else 0
            return folded + await self._fill_quiet_partitions(consumer, now)
        except OutrunError as error:
            logger.warning("projector.outrun", error=str(error))
            self.forget(list(self._places))
            return 0

    def forget(self, partitions: Sequence[int]) -> None:
        """Stop folding `partitions`, until their places are read again."""
        for partition in partitions:
            self._places.pop(partition, None)
            self._heard_at.pop(partition, None)

    async def _take_over(self, consumer: AIOKafkaConsumer) -> None:
        """Read the stored places of partitions that came, and read Kafka on from there."""
        topic = self._prefix + topics.RAW
        assigned = {partition.partition for partition in consumer.assignment()}
        came = sorted(assigned - self._places.keys())
        if not came:
            return
        await self._refuse_another_log(await self._watermark.read())
        with sorted_errors(lost=TransientError):
            async with borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection:
                places = await self._positions.places(connection, came)
        for partition, place in places.items():
            consumer.seek(TopicPartition(topic, partition), place.kafka_offset)
        self._places.update(places)
        self._heard_at.update(dict.fromkeys(came, time.monotonic()))
        logger.info("projector.taken_over", partitions=came)

    async def _refuse_another_log(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        with sorted_errors(lost=TransientError):
            async with borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection:
                for stream, published in checkpoints.items():
                    await marks.refuse_another_log(connection, stream, published)

    def _place(self, partition: int) -> Place:
        try:
            return self._places[partition]
        except KeyError:
            raise OutrunError(f"partition {partition} went to another member") from None

    def _incoming(self, records: Sequence[Record]) -> list[_Incoming]:
        incoming = []
        for record in records:
            headers = dict(record.headers)
            if headers.get("log") != self._log_header:
                continue
            previous = headers.get("prev")
            incoming.append(
                _Incoming(
                    delivery_of(record, headers),
                    0 if previous is None else int(previous),
                    record.offset + 1,
                )
            )
        return incoming

    async def _fold(self, incoming: Mapping[int, Sequence[_Incoming]]) -> int:
        deliveries: list[Delivery] = []
        places: dict[int, Place] = {}
        moved = 0
        for partition, records in incoming.items():
            place = self._place(partition)
            for record in records:
                if record.delivery.position <= place.position:
                    telemetry.PROJECTOR_REPEATS.inc()
                    place = Place(position=place.position, kafka_offset=record.next_offset)
                    continue
                if record.previous > place.position:
                    # What came before the gap is folded first, then the gap itself.
                    places[partition] = place
                    moved += await self._commit(deliveries, places)
                    deliveries, places = [], {}
                    logger.warning(
                        "projector.gap", partition=partition, after=place.position, up_to=record.previous
                    )
                    moved += await self._fill(partition, record.previous)
                    place = self._place(partition)
                deliveries.append(record.delivery)
                place = Place(position=record.delivery.position, kafka_offset=record.next_offset)
            places[partition] = place
        return moved + await self._commit(deliveries, places)

    async def _commit(self, deliveries: Sequence[Delivery], places: Mapping[int, Place]) -> int:
        """One transaction: positions compared, deliveries folded, positions moved."""
        moving = {partition: place for partition, place in places.items() if place != self._place(partition)}
        if not moving:
            return 0
        expected = {partition: self._place(partition) for partition in moving}
        started = time.perf_counter()
        with sorted_errors(lost=TransientError):
            async with (
                borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection,
                transaction(connection),
            ):
                generation = await self._positions.lock(connection, expected)
                # Before the fold: the last thing in it takes the one lock that everybody wants.
                await self._positions.advance(connection, moving)
                if deliveries:
                    await self._folder.apply(connection, deliveries, generation=generation)
                crashpoint("projector.written")
        crashpoint("projector.committed")
        # A rebalance may have taken some away meanwhile; what is committed stays committed.
        self._places.update({at: place for at, place in moving.items() if at in self._places})
        telemetry.PROJECTOR_FOLDED.inc(len(deliveries))
        telemetry.PROJECTOR_BATCH_SECONDS.observe(time.perf_counter() - started)
        if deliveries:
            telemetry.PROJECTOR_LAG_SECONDS.set(time.time() - deliveries[-1].recorded_at / 1e9)
        return len(deliveries)

    async def _fill(self, partition: int, up_to: int) -> int:
        """Fold from the log what Kafka lacks of `partition`, in pages, each its own transaction."""
        filled = 0
        while (place := self._place(partition)).position < up_to:
            with sorted_errors(lost=TransientError):
                async with borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection:
                    page = await log_reader.between(
                        connection,
                        after=place.position,
                        up_to=up_to,
                        rows_max=self._settings.batch_rows_max,
                        bytes_max=self._settings.batch_bytes_max,
                    )
            reached = page[-1].position if page else up_to
            ours = [
                delivery
                for delivery in page
                if partition_of(routing_key(delivery.root, delivery.position)) == partition
            ]
            await self._commit(ours, {partition: Place(position=reached, kafka_offset=place.kafka_offset)})
            filled += len(ours)
        telemetry.PROJECTOR_GAP_ROWS.inc(filled)
        return filled

    async def _has_more(self, consumer: AIOKafkaConsumer, partition: int) -> bool:
        """Whether Kafka still has, or may have, records of `partition` that were not handed out yet.

        aiokafka hands out one partition after another, so behind a backlog the others only seem quiet.
        """
        place = TopicPartition(self._prefix + topics.RAW, partition)
        if place not in consumer.assignment():
            return True
        end = consumer.last_stable_offset(place)
        return end is None or await consumer.position(place) < end

    async def _fill_quiet_partitions(self, consumer: AIOKafkaConsumer, now: float) -> int:
        quiet = [
            partition
            for partition, heard_at in self._heard_at.items()
            if now - heard_at >= self._settings.quiet_after_s
        ]
        if not quiet and (self._heard_at or now - self._asked_at < self._settings.quiet_after_s):
            return 0
        # Without partitions too: the client itself never says that Kafka is away.
        self._asked_at = now
        checkpoints = await self._watermark.read()
        await self._refuse_another_log(checkpoints)
        published = ends(checkpoints)
        filled = 0
        for partition in quiet:
            self._heard_at[partition] = now
            last = published.get(partition, 0)
            place = self._place(partition)
            if last > place.position and not await self._has_more(consumer, partition):
                logger.warning("projector.gap", partition=partition, after=place.position, up_to=last)
                filled += await self._fill(partition, last)
        return filled


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types.
    """Forgets every place at a rebalance: the client forgets its offsets there too.

    No more than that, for aiokafka swallows what a listener raises; the next pass takes over.
    """

    def __init__(self, projector: Projector) -> None:
        self._projector = projector

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._projector.forget([partition.partition for partition in revoked])

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._projector.forget([partition.partition for partition in assigned])
