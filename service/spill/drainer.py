"""Bring spilled deliveries into the log, beside the direct appends, each once.

In: `webhooks.spill`, every partition of it. Out: rows of the log and the partition's next offset, in one
transaction: a crash anywhere leaves both or neither. The stored offset decides, never Kafka's; of two
drainers at one partition the later finds it moved, and reads on from the true one.

The order among spilled and direct deliveries means nothing: state is a function of the set of facts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from projections.delivery import PARTITIONS
from service import telemetry
from service.crashpoints import crashpoint
from service.errors import InvariantError, TransientError
from service.eventlog.deliveries import (
    Appended,
    NewDelivery,
    append_setting_aside,
    tell_refused,
)
from service.kafka import topics
from service.kafka.consumer import Record, reader
from service.postgres import Connection, Pool, borrowed, sorted_errors, statement, transaction
from service.spill import wire
from service.waiting import STALLED_AFTER_S, Rounds, Waiting, answered_within

logger = structlog.get_logger()

_SQL: Final = Path(__file__).parent

_ROWS_MAX: Final = 1_000
"""Of one transaction: it holds the head row, and direct appends wait behind it."""
_POLL_MS: Final = 500
_FETCH_WAIT_MS: Final = 2_000
"""Nearly always nothing is spilled: Kafka then answers a fetch this late, unless a record comes."""
_LOOK_INTERVAL_S: Final = 5.0
"""Between looks at how many wait."""
_KAFKA_S_MAX: Final = 5.0
_CONNECT_S_MAX: Final = 5.0


class _OutrunError(TransientError):
    """Another drainer has moved the partition on: read the offsets again."""


class Drainer:
    """One drainer of one log; a second one beside it does no harm and no good."""

    def __init__(
        self,
        *,
        pool: Pool,
        bootstrap: str,
        prefix: str,
        log: str,
        waiting: Waiting,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        self._pool = pool
        self._bootstrap = bootstrap
        self._topic = prefix + topics.SPILL
        self._log = log
        self._waiting = waiting
        self._rounds = Rounds("drain", stalled_after_s=stalled_after_s)
        self._next: dict[int, int] = {}
        self._looked_at = 0.0
        self.to_drain: int | None = None
        """Spilled deliveries that wait, as of the last look."""

    async def run(self, stopping: asyncio.Event) -> None:
        """Drain until asked to stop. Raises InvariantError: a human decides."""
        while not stopping.is_set():
            try:
                async with self._rounds.watched(), self.reading() as consumer:
                    self._waiting.over()
                    while not stopping.is_set():
                        await self.run_once(consumer)
            except InvariantError:
                raise
            except Exception as error:  # noqa: BLE001
                # Any doubt, whatever aiokafka or asyncpg call it: nothing is lost by starting over.
                await self._waiting.after(error, stopping)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of every partition that stands where the log does."""
        self._rounds.step("starting the Kafka client", "kafka")
        async with reader(self._bootstrap, fetch_max_wait_ms=_FETCH_WAIT_MS) as consumer:
            consumer.assign([TopicPartition(self._topic, partition) for partition in range(PARTITIONS)])
            self._rounds.step("reading the offsets", "postgres")
            await self._take_over(consumer)
            self._refuse_another_kafka(await self._ends(consumer))
            self._looked_at = 0.0
            yield consumer

    async def run_once(self, consumer: AIOKafkaConsumer) -> int:
        """Append what was fetched, a transaction per partition; the number of rows appended.

        Raises TransientError, or what aiokafka raises; what was not committed is read again.
        """
        self._rounds.step("asking how many wait", "kafka")
        await self._look(consumer)
        self._rounds.step("fetching", "kafka")
        fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_ROWS_MAX)
        self._rounds.came_round()
        appended = 0
        try:
            for at, records in fetched.items():
                self._rounds.step(f"appending {len(records)} deliveries", "postgres")
                appended += await self._append(at.partition, records)
        except _OutrunError:
            logger.info("drain.outrun")
            await self._take_over(consumer)
        if appended:
            self._looked_at = 0.0
        return appended

    async def _take_over(self, consumer: AIOKafkaConsumer) -> None:
        with sorted_errors(lost=TransientError):
            async with borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection:
                await connection.execute(statement(_SQL, "ensure_offsets"), self._log, PARTITIONS)
                rows = await connection.fetch(statement(_SQL, "read_offsets"), self._log)
        self._next = {row["partition"]: row["next_offset"] for row in rows}
        for partition, offset in self._next.items():
            consumer.seek(TopicPartition(self._topic, partition), offset)

    async def _append(self, partition: int, records: Sequence[Record]) -> int:
        """One transaction: the offset compared and moved, the rows appended."""
        expected = self._next[partition]
        records = [record for record in records if record.offset >= expected]
        if not records:
            return 0
        self._tell_missing(partition, records[0].offset - expected)
        rows = [_row(record) for record in records if wire.log_of(record.headers) == self._log]
        reached = records[-1].offset + 1
        with sorted_errors(lost=TransientError):
            async with (
                borrowed(self._pool, timeout_s=_CONNECT_S_MAX) as connection,
                transaction(connection),
            ):
                await self._advance(connection, partition, expected, reached)
                appended = await append_setting_aside(connection, rows) if rows else None
                crashpoint("drain.appended")
        crashpoint("drain.committed")
        self._next[partition] = reached
        self._tell_appended(partition, records, appended)
        if appended is not None:
            tell_refused(rows, appended)
        return len(rows)

    async def _advance(self, connection: Connection, partition: int, expected: int, reached: int) -> None:
        # Before the append: the last thing in the transaction takes the one lock that everybody wants.
        moved = await connection.execute(
            statement(_SQL, "advance_offset"), self._log, partition, expected, reached
        )
        if moved != "UPDATE 1":
            raise _OutrunError(f"partition {partition} no longer stands at {expected}")

    async def _look(self, consumer: AIOKafkaConsumer) -> None:
        """Every few seconds count what waits; also how a Kafka that went away shows."""
        if time.monotonic() - self._looked_at < _LOOK_INTERVAL_S:
            return
        ends = await self._ends(consumer)
        self._looked_at = time.monotonic()
        self.to_drain = sum(max(0, end - self._next[partition]) for partition, end in ends.items())
        telemetry.DRAIN_WAITING.set(self.to_drain)

    async def _ends(self, consumer: AIOKafkaConsumer) -> Mapping[int, int]:
        partitions = [TopicPartition(self._topic, partition) for partition in range(PARTITIONS)]
        async with answered_within(_KAFKA_S_MAX, "kafka", "say how far the spill goes"):
            ends = await consumer.end_offsets(partitions)
        return {at.partition: end for at, end in ends.items()}

    def _refuse_another_kafka(self, ends: Mapping[int, int]) -> None:
        beyond = [partition for partition, end in ends.items() if end < self._next[partition]]
        if beyond:
            raise InvariantError(
                f"{self._topic} ends before what was drained of it (partitions {beyond}): it is another "
                "Kafka, or the topic was made anew. Point RECIBO_KAFKA_BOOTSTRAP at the one that was "
                "drained, or, if that is gone for good, set next_offset = 0 in spill_offset: going on "
                "would pass over what is spilled now"
            )

    def _tell_missing(self, partition: int, count: int) -> None:
        if count:
            telemetry.DRAIN_MISSING.inc(count)
            logger.error("drain.records_missing", partition=partition, count=count)

    def _tell_appended(self, partition: int, records: Sequence[Record], appended: Appended | None) -> None:
        in_log = [] if appended is None else _positions_in_log(appended)
        telemetry.DRAIN_APPENDED.inc(len(in_log))
        # The way from a spill receipt to its row: offsets and positions run in step, past what was refused.
        logger.info(
            "drain.appended",
            partition=partition,
            offset=records[0].offset,
            position=in_log[0] if in_log else None,
            count=len(in_log),
        )


def _positions_in_log(appended: Appended) -> Sequence[int]:
    if not appended.refused:
        return appended.positions
    return [at for index, at in enumerate(appended.positions) if index not in appended.refused]


def _row(record: Record) -> NewDelivery:
    return wire.decode(record.headers, record.value or b"")
