"""Publish a log to Kafka, in log order, each row once.

One relay leads for a log at a time: an advisory lock says which, and Kafka enforces it, for a new
leader's producer fences the old one's. Rows and checkpoint are one Kafka transaction, so a crash
anywhere leaves both or neither. On any doubt the leader throws away its producer and its connection,
with which the lock goes, and begins again from the checkpoint.

aiokafka speaks the first generation of the transaction protocol, which can tear a commit. The
checkpoint is therefore sent only after every row is acknowledged: what a torn commit leaves is
repeats, which consumers drop by `position`, not holes.

A record that Kafka refuses for its size does not stop the log: `refused.py` says what goes out instead.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from service import telemetry
from service.crashpoints import crashpoint
from service.errors import InvariantError, TransientError
from service.eventlog import head as log_head
from service.eventlog import marks
from service.kafka import checkpoint, topics
from service.kafka.checkpoint import Checkpoint
from service.kafka.consumer import reader
from service.kafka.producer import Batch, send, transactional_producer
from service.postgres import Connection, connect, sorted_errors
from service.relay.refused import Refused, marker_of, size_of
from service.relay.streams import Outgoing, Stream
from service.settings import RelaySettings
from service.waiting import STALLED_AFTER_S, Rounds, Waiting, answered_within, pause

logger = structlog.get_logger()

RECORDS_PER_PRODUCER_MAX: Final = 2**30
"""aiokafka's sequence numbers break at 2^31 in one partition: a producer is thrown away well before."""

_PUBLISH_S_MAX: Final = 20.0
"""For one pass: aiokafka by itself would wait for Kafka without end, and nobody would know."""

_READ_S_MAX: Final = 20.0
"""For one statement: a connection that died unnoticed must not keep the relay for ever."""

_LOCK_SPACE: Final = 0x7265_6C79  # "rely"


@dataclass(frozen=True, slots=True)
class _Record:
    """A row with its place in the chain: what producer.send takes."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int
    position: int
    """In the log; 0 of the checkpoint."""


class _RefusedError(TransientError):
    """Kafka refused some rows for their size, and the next leadership knows which: no reason to wait."""


class Relay:
    """The relay of one log."""

    def __init__(
        self,
        stream: Stream,
        *,
        database_url: str,
        bootstrap: str,
        prefix: str,
        log: str,
        settings: RelaySettings,
        stalled_after_s: float = STALLED_AFTER_S,
    ) -> None:
        self._stream = stream
        self._database_url = database_url
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._log = log
        self._settings = settings
        self._logger = logger.bind(log=log, stream=stream.name)
        self._refused = Refused()
        self._rounds = Rounds(f"relay-{stream.name}", stalled_after_s=stalled_after_s)
        self.waiting = Waiting(f"relay-{stream.name}", first_s=settings.retry_after_s)
        self.leading = False
        """Whether this process holds the log's lock now."""
        self.position = 0
        """The last position that this process has published or found published."""

    @property
    def name(self) -> str:
        return self._stream.name

    async def run(self, stopping: asyncio.Event) -> None:
        """Lead, or wait to lead, until asked to stop. Raises InvariantError: a human decides."""
        while not stopping.is_set():
            try:
                async with self._rounds.watched():
                    await self._lead_until_doubt(stopping)
            except InvariantError:
                raise
            except _RefusedError:
                continue
            except Exception as error:  # noqa: BLE001  Whatever aiokafka or asyncpg call it.
                # Any doubt: nothing is lost by starting over.
                telemetry.RELAY_RESTARTS.labels(stream=self._stream.name).inc()
                await self.waiting.after(error, stopping)

    @asynccontextmanager
    async def lead(self, stopping: asyncio.Event) -> AsyncIterator["Leadership | None"]:
        """The leadership once the lock is free; null if asked to stop before."""
        async with AsyncExitStack() as stack:
            self._rounds.step("connecting to Postgres", "postgres")
            connection = await connect(
                self._database_url,
                application=f"relay-{self._stream.name}",
                command_timeout_s=_READ_S_MAX,
            )
            stack.callback(connection.terminate)
            if not await self._lock(connection, stopping):
                yield None
                return
            self._rounds.step("starting the Kafka producer", "kafka")
            producer = await stack.enter_async_context(
                transactional_producer(
                    self._bootstrap, f"{self._prefix}relay-{self._log}-{self._stream.name}"
                )
            )
            # After the producer has started: what its predecessor left open is now aborted.
            self._rounds.step("reading the checkpoint", "kafka")
            async with reader(self._bootstrap) as consumer:
                published = await self._published(consumer)
            self._rounds.step("comparing the log with the checkpoint", "postgres")
            await marks.refuse_another_log(connection, self._stream.name, published)
            woken = asyncio.Event()
            await connection.add_listener(self._stream.channel, lambda *_: woken.set())
            self.position = published.position
            self._set_leading(leading=True)
            stack.callback(self._set_leading, leading=False)
            self._logger.info("relay.leading", position=published.position)
            yield Leadership(
                self._stream,
                connection=connection,
                producer=producer,
                prefix=self._prefix,
                log=self._log,
                published=published,
                woken=woken,
                refused=self._refused,
                rounds=self._rounds,
                settings=self._settings,
            )

    def _set_leading(self, *, leading: bool) -> None:
        self.leading = leading
        telemetry.RELAY_LEADING.labels(stream=self._stream.name).set(leading)

    async def _published(self, consumer: AIOKafkaConsumer) -> Checkpoint:
        found = await checkpoint.read(consumer, prefix=self._prefix, log=self._log, stream=self._stream.name)
        return found or await checkpoint.read_from_the_ends(
            consumer, prefix=self._prefix, log=self._log, names=self._stream.topics
        )

    async def _lead_until_doubt(self, stopping: asyncio.Event) -> None:
        async with self.lead(stopping) as leadership:
            if leadership is None:
                return
            while not stopping.is_set() and leadership.records < RECORDS_PER_PRODUCER_MAX:
                published = await leadership.run_once()
                self.waiting.over()
                self.position = leadership.position
                if published == 0 or leadership.caught_up:
                    await leadership.wait_for_work(stopping)
                await leadership.gather(stopping)

    async def _lock(self, connection: Connection, stopping: asyncio.Event) -> bool:
        # Asked again and again rather than waited for: a waiting statement holds a snapshot, and
        # the dead versions of the head rows would pile up behind it.
        waiting = False
        while not stopping.is_set():
            self._rounds.step("asking for the relay's lock", "postgres")
            with sorted_errors(lost=TransientError):
                taken: bool = await connection.fetchval(
                    "select pg_try_advisory_lock($1, hashtext($2))",
                    _LOCK_SPACE,
                    checkpoint.key(self._log, self._stream.name),
                )
            if taken:
                return True
            self._rounds.came_round()
            self.waiting.over()
            if not waiting:
                self._logger.info("relay.standing_by")
                waiting = True
            await pause(self._settings.lock_poll_s, stopping)
        return False


class Leadership:
    """One leader's time: a locked connection, a producer and the checkpoint that they rest on."""

    def __init__(
        self,
        stream: Stream,
        *,
        connection: Connection,
        producer: AIOKafkaProducer,
        prefix: str,
        log: str,
        published: Checkpoint,
        woken: asyncio.Event,
        refused: Refused,
        rounds: Rounds,
        settings: RelaySettings,
    ) -> None:
        self._stream = stream
        self._connection = connection
        self._producer = producer
        self._prefix = prefix
        self._log_header = ("log", log.encode())
        self._checkpoint_key = checkpoint.key(log, stream.name).encode()
        self._published = published
        self._woken = woken
        self._refused = refused
        self._rounds = rounds
        self._settings = settings
        self._began = 0.0
        self.records = 0
        self.caught_up = False
        """Whether the last pass left nothing, as of its end."""

    @property
    def position(self) -> int:
        return self._published.position

    async def run_once(self) -> int:
        """Publish what the log holds beyond the checkpoint, bounded; the number of rows published.

        Raises whatever goes wrong; the leadership is then over.
        """
        self._rounds.step("reading the log", "postgres")
        self._woken.clear()
        self._began = asyncio.get_running_loop().time()
        started = time.perf_counter()
        with sorted_errors(lost=TransientError):
            rows = await self._stream.tail(
                self._connection,
                self._published.position,
                rows_max=self._settings.rows_max,
                bytes_max=self._settings.bytes_max,
            )
        self._rounds.came_round()
        if not rows:
            return 0
        self._rounds.step(f"publishing {len(rows)} records", "kafka")
        async with answered_within(_PUBLISH_S_MAX, "kafka", "confirm what was published"):
            self._published = published = await self._publish(rows)
        await self._measure_lag()
        self.records += len(rows)
        telemetry.RELAY_PUBLISHED.labels(stream=self._stream.name).inc(len(rows))
        telemetry.RELAY_PASSES.labels(stream=self._stream.name).inc()
        telemetry.RELAY_PASS_SECONDS.labels(stream=self._stream.name).observe(time.perf_counter() - started)
        telemetry.RELAY_POSITION.labels(stream=self._stream.name).set(published.position)
        logger.debug(
            "relay.published", stream=self._stream.name, count=len(rows), position=published.position
        )
        return len(rows)

    async def wait_for_work(self, stopping: asyncio.Event) -> None:
        """Return when an append was notified, when the poll interval has passed, or on stopping."""
        self._rounds.step("waiting for work")
        if self._connection.is_closed():
            raise TransientError("the connection that holds the relay's lock was lost", store="postgres")
        waiters = [asyncio.ensure_future(event.wait()) for event in (self._woken, stopping)]
        try:
            await asyncio.wait(
                waiters, timeout=self._settings.poll_interval_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for waiter in waiters:
                waiter.cancel()

    async def gather(self, stopping: asyncio.Event) -> None:
        """Return once `gather_s` have passed since the last pass began.

        Rows that come meanwhile share a transaction. A row that comes alone is published at once, and under a
        load that fills the passes none waits.
        """
        left_s = self._began + self._settings.gather_s - asyncio.get_running_loop().time()
        if left_s > 0:
            await pause(left_s, stopping)

    async def _publish(self, rows: list[Outgoing]) -> Checkpoint:
        records, last = self._chained([self._sendable(row) for row in rows])
        await self._producer.begin_transaction()
        await self._send_all(records)
        crashpoint("relay.sent", of=self._stream.name)
        published = Checkpoint(position=rows[-1].position, mark=rows[-1].mark, last=last)
        # Every row is acknowledged, only now the checkpoint goes: a torn commit repeats, never skips.
        await self._send_all(
            {
                (topics.CHECKPOINT, checkpoint.PARTITION_OF_STREAM[self._stream.name]): [
                    _Record(self._checkpoint_key, checkpoint.encode(published), [], rows[-1].timestamp_ms, 0)
                ]
            }
        )
        crashpoint("relay.checkpointed", of=self._stream.name)
        await self._producer.commit_transaction()
        crashpoint("relay.committed", of=self._stream.name)
        self._refused.forget(up_to=published.position)
        return published

    async def _measure_lag(self) -> None:
        with sorted_errors(lost=TransientError):
            head = await log_head.position(self._connection, self._stream.name)
        lag = head - self._published.position
        self.caught_up = lag == 0
        telemetry.RELAY_LAG_POSITIONS.labels(stream=self._stream.name).set(lag)

    async def _send_all(self, records: dict[tuple[str, int], list[_Record]]) -> None:
        batches: list[Batch[_Record]] = []
        for (topic, partition), some in records.items():
            batches += await send(
                self._producer,
                self._prefix + topic,
                partition,
                some,
                alone=lambda record: self._refused.goes_alone(record.position),
            )
        # commit_transaction succeeds although a batch failed; only its future tells.
        outcomes = await asyncio.gather(*(batch.sent for batch in batches), return_exceptions=True)
        failed = [(batch, error) for batch, error in zip(batches, outcomes, strict=True) if _failed(error)]
        refused = [batch for batch, error in failed if isinstance(error, _TOO_LARGE)]
        for batch in refused:
            if not self._refused.note([record.position for record in batch.records]):
                self._refused.forget()
                raise TransientError(
                    f"Kafka takes no record of {size_of(batch.records[0])} bytes: run `recibo topics`, which "
                    "names the topic with another max.message.bytes than it needs",
                    store="kafka",
                )
        if len(refused) == len(failed) > 0:
            raise _RefusedError("Kafka refuses records for their size", store="kafka")
        for _, error in failed:
            assert isinstance(error, BaseException)
            raise error

    def _sendable(self, row: Outgoing) -> Outgoing | None:
        """The row, or the marker in its place where Kafka refused it alone; null where nothing goes out."""
        if not self._refused.is_too_large(row.position):
            return row
        known = dict(row.headers)
        telemetry.RELAY_TOO_LARGE.labels(topic=row.topic).inc()
        logger.error(
            "relay.record_too_large",
            topic=row.topic,
            root=known["ce_partitionkey"].decode(),
            position=row.position,
            bytes=size_of(row),
        )
        return marker_of(row)

    def _chained(
        self, rows: Iterable[Outgoing | None]
    ) -> tuple[dict[tuple[str, int], list[_Record]], dict[str, dict[int, int]]]:
        last = {topic: dict(partitions) for topic, partitions in self._published.last.items()}
        records: dict[tuple[str, int], list[_Record]] = defaultdict(list)
        for row in rows:
            if row is None:
                continue
            headers = row.headers
            headers.append(self._log_header)
            headers.append(("position", b"%d" % row.position))
            ends = last.setdefault(row.topic, {})
            previous = ends.get(row.partition)
            if previous is not None and not topics.is_compacted(row.topic):
                headers.append(("prev", b"%d" % previous))
            ends[row.partition] = row.position
            records[row.topic, row.partition].append(
                _Record(row.key, row.value, headers, row.timestamp_ms, row.position)
            )
        return records, last


def _failed(outcome: object) -> bool:
    return isinstance(outcome, BaseException)


_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
"""What a broker says of a batch over the topic's max.message.bytes, and of one over the segment's size."""
