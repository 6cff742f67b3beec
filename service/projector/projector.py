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

from projections.delivery import Delivery, routing_key
from service import telemetry
from service.crashpoints import crashpoint
from service.errors import InvariantError, TransientError
from service.eventlog import marks
from service.eventlog import reader as log_reader
from service.kafka import topics
from service.kafka.checkpoint import Checkpoint
from service.kafka.consumer import GroupMember, Record, group_member
from service.kafka.headers import delivery_of, is_marker
from service.kafka.partitioner import partition_of
from service.postgres import Pool, borrowed, sorted_errors, transaction
from service.projector.member_name import MemberName
from service.projector.watermark import Watermark, ends
from service.readmodels.apply import BatchTooLargeError, Folder
from service.readmodels.positions import OutrunError, Place, Positions
from service.settings import ProjectorSettings
from service.waiting import STALLED_AFTER_S, Rounds, StalledError, Waiting, store_of

logger = structlog.get_logger()

_CONNECT_S_MAX: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Incoming:
    """A record of the topic, read."""

    delivery: Delivery
    previous: int
    """The log position before it in this partition; 0 at the first."""
    next_offset: int


@dataclass(frozen=True, slots=True)
class _Move:
    """One partition moved on to `place`, by folding `delivery`; null where there is nothing to fold."""

    partition: int
    place: Place
    delivery: Delivery | None = None


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
        member_name: MemberName,
        settings: ProjectorSettings,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        self._pool = pool
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._log = log
        self._folder = folder
        self._positions = positions
        self._watermark = watermark
        self._member_name = member_name
        self._settings = settings
        self._places: dict[int, Place] = {}
        self._heard_at: dict[int, float] = {}
        self._asked_at = 0.0
        self._goes_by_name = True
        """Not after a stall: Kafka may hold the name for a member that is no more, until its session ends."""
        self._is_named = False
        self._assigned_at = 0.0
        """When the group last gave this member partitions, or it joined."""
        self._rows_max = settings.batch_rows_max
        self._log_header = log.encode()
        self._rounds = Rounds("projector", stalled_after_s=stalled_after_s)
        self.waiting = Waiting("projector", first_s=settings.retry_after_s)

    @property
    def places(self) -> Mapping[int, Place]:
        """Where this process believes its partitions to stand."""
        return self._places

    async def run(self, stopping: asyncio.Event) -> None:
        """Fold until asked to stop. Raises InvariantError: a human decides."""
        while not stopping.is_set():
            try:
                async with self._rounds.watched(), self.joined() as member:
                    self.waiting.over("kafka")
                    while not stopping.is_set():
                        await self._go_round(member, stopping)
            except InvariantError:
                raise
            except Exception as error:  # noqa: BLE001  Whatever aiokafka or asyncpg call it.
                # Any doubt: nothing is lost by starting over.
                telemetry.PROJECTOR_RESTARTS.inc()
                self.forget()
                self._goes_by_name = not isinstance(error, StalledError)
                await self.waiting.after(error, stopping)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[GroupMember]:
        """Yield a member of the group that looks at the partitions it is assigned."""
        async with AsyncExitStack() as stack:
            self._rounds.step("taking a name in the group", "postgres")
            stack.callback(self._member_name.release)
            name = await self._member_name.take() if self._goes_by_name else None
            self._is_named = name is not None
            self._rounds.step("starting the Kafka clients", "kafka")
            await stack.enter_async_context(self._watermark.opened())
            self._assigned_at = time.monotonic()
            group = f"{self._prefix}projector-{self._log}"
            yield await stack.enter_async_context(
                group_member(
                    self._bootstrap,
                    group=group,
                    instance=None if name is None else f"{group}-{name}",
                    topic=self._prefix + topics.RAW,
                    on_rebalance=self.forget,
                )
            )

    async def run_once(self, member: GroupMember) -> int:
        """Fold one batch; return the number of deliveries that it folded, repeats not counted.

        Raises TransientError, or what aiokafka raises; nothing of the batch is written then.
        """
        self._rounds.step("fetching", "kafka")
        fetched = await member.fetch(
            timeout_s=self._settings.poll_timeout_s,
            gather_s=self._settings.gather_s,
            records_max=self._rows_max,
        )
        if fetched is None or (self._is_named and not member.assigned):
            # The loop comes round, and yet nothing is read: a join that Kafka forgot has no end of its own.
            # There are no more names than partitions, so a member with a name has one at least.
            self._rounds.require_progress(self._assigned_at, "joining the group", "kafka")
        else:
            self._assigned_at = time.monotonic()
            self._rounds.came_round()
        try:
            if fetched is None:
                return await self._fill_quiet_partitions(member, time.monotonic())
            # A rebalance while they were fetched: what is not believed to stand anywhere is read again.
            incoming = {
                partition: self._incoming(records)
                for partition, records in fetched.items()
                if partition in self._places
            }
            await self._take_over(member)
            now = time.monotonic()
            self._heard_at.update(dict.fromkeys(incoming, now))
            folded = await self._fold(incoming) if incoming else 0
            return folded + await self._fill_quiet_partitions(member, now)
        except OutrunError as error:
            logger.warning("projector.outrun", error=str(error))
            self.forget()
            return 0

    def forget(self) -> None:
        """Stop folding, until the places of the assigned partitions are read again."""
        self._places.clear()
        self._heard_at.clear()

    async def _go_round(self, member: GroupMember, stopping: asyncio.Event) -> None:
        try:
            await self.run_once(member)
        except InvariantError:
            raise
        except Exception as error:
            if store_of(error) != "postgres":
                raise
            # The membership outlives a Postgres that is away: to leave would stop the other members as well.
            telemetry.PROJECTOR_RESTARTS.inc()
            self.forget()
            self._rounds.step("waiting for Postgres", "postgres")
            await self.waiting.after(error, stopping)
            await self._member_name.keep()
        else:
            # A pass without places has not asked Postgres.
            if self._places:
                self.waiting.over()

    async def _take_over(self, member: GroupMember) -> None:
        """Read the stored places of partitions that came, and read Kafka on from there."""
        came = sorted(member.assigned - self._places.keys())
        if not came:
            return
        self._rounds.step("reading the relay's checkpoints", "kafka")
        await self._refuse_another_log(await self._watermark.read())
        self._rounds.step("reading the places of partitions", "postgres")
        with sorted_errors(lost=TransientError):
            async with borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection:
                places = await self._positions.places(connection, came)
        # Some may have gone to another member meanwhile.
        mine = {at: place for at, place in places.items() if member.seek(at, place.kafka_offset)}
        self._places.update(mine)
        self._heard_at.update(dict.fromkeys(mine, time.monotonic()))
        logger.info("projector.taken_over", partitions=sorted(mine))

    async def _refuse_another_log(self, checkpoints: Mapping[str, Checkpoint]) -> None:
        self._rounds.step("comparing the log with the checkpoints", "postgres")
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
            # What a marker stands for is missing here, so the log supplies it like any other gap.
            if headers.get("log") != self._log_header or is_marker(headers):
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
        moves: list[_Move] = []
        folded = 0
        for partition, records in incoming.items():
            place = self._place(partition)
            for record in records:
                if record.delivery.position <= place.position:
                    telemetry.PROJECTOR_REPEATS.inc()
                    place = Place(position=place.position, kafka_offset=record.next_offset)
                    moves.append(_Move(partition, place))
                    continue
                if record.previous > place.position:
                    # What came before the gap is folded first, then the gap itself.
                    folded += await self._commit(moves)
                    moves = []
                    logger.warning(
                        "projector.gap", partition=partition, after=place.position, up_to=record.previous
                    )
                    folded += await self._fill(partition, record.previous)
                    place = self._place(partition)
                place = Place(position=record.delivery.position, kafka_offset=record.next_offset)
                moves.append(_Move(partition, place, record.delivery))
        return folded + await self._commit(moves)

    async def _commit(self, moves: Sequence[_Move]) -> int:
        """Fold `moves` in one transaction, or in several where they make too many bytes of events.

        A batch that fails is thrown away, and the next ones have half of its deliveries, until they pass.
        """
        try:
            folded = await self._write(moves)
        except BatchTooLargeError:
            telemetry.PROJECTOR_HALVED.inc()
            middle = len(moves) // 2
            return await self._commit(moves[:middle]) + await self._commit(moves[middle:])
        except OutrunError:
            raise
        except BaseException:
            # A step that was given up for its time, too, which is a cancellation.
            if len(moves) > 1:
                telemetry.PROJECTOR_HALVED.inc()
                self._rows_max = max(1, len(moves) // 2)
            raise
        self._rows_max = min(2 * self._rows_max, self._settings.batch_rows_max)
        return folded

    async def _write(self, moves: Sequence[_Move]) -> int:
        """One transaction: positions compared, deliveries folded, positions moved."""
        deliveries = [move.delivery for move in moves if move.delivery is not None]
        places = {move.partition: move.place for move in moves}
        moving = {partition: place for partition, place in places.items() if place != self._place(partition)}
        if not moving:
            return 0
        expected = {partition: self._place(partition) for partition in moving}
        self._rounds.step(f"folding {len(deliveries)} deliveries", "postgres")
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
            self._rounds.step("reading a gap from the log", "postgres")
            with sorted_errors(lost=TransientError):
                async with borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection:
                    page = await log_reader.between(
                        connection,
                        after=place.position,
                        up_to=up_to,
                        rows_max=self._rows_max,
                        bytes_max=self._settings.batch_bytes_max,
                    )
            moves = [
                _Move(partition, Place(position=delivery.position, kafka_offset=place.kafka_offset), delivery)
                for delivery in page
                if partition_of(routing_key(delivery.root, delivery.position)) == partition
            ]
            reached = page[-1].position if page else up_to
            moves.append(_Move(partition, Place(position=reached, kafka_offset=place.kafka_offset)))
            filled += await self._commit(moves)
        telemetry.PROJECTOR_GAP_ROWS.inc(filled)
        return filled

    async def _fill_quiet_partitions(self, member: GroupMember, now: float) -> int:
        # All at once, each few seconds; without partitions too: the client itself never says that Kafka is
        # away.
        if now - self._asked_at < self._settings.quiet_after_s:
            return 0
        quiet = [
            partition
            for partition, heard_at in self._heard_at.items()
            if now - heard_at >= self._settings.quiet_after_s
        ]
        if not quiet and self._heard_at:
            return 0
        self._asked_at = now
        self._rounds.step("reading the relay's checkpoints", "kafka")
        checkpoints = await self._watermark.read()
        await self._refuse_another_log(checkpoints)
        published = ends(checkpoints)
        filled = 0
        for partition in quiet:
            last = published.get(partition, 0)
            place = self._place(partition)
            if last > place.position and not await member.has_more(partition):
                logger.warning("projector.gap", partition=partition, after=place.position, up_to=last)
                filled += await self._fill(partition, last)
        return filled
