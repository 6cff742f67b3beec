"""Write deliveries to `webhooks.spill`, for the ingress while Postgres is away.

In: a batch of rows. Out: the partition and offset of each, once Kafka has them on disk. The producer is
idempotent, so what aiokafka sends again by itself is not doubled. A crash leaves rows that were not
answered; their senders repeat them.

A send that is not confirmed in time is in doubt, and Kafka away: every further batch is refused at once.
aiokafka goes on trying with the one in doubt, for ever; when it has got through, Kafka is back. So what
waits here is never more than one batch.

While the log takes everything nothing is sent here, so a heartbeat asks instead: a Kafka that went away, or a
topic that went wrong, is known before the log is away too. A write that is under way answers for itself.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from projections.delivery import PARTITIONS
from service import telemetry
from service.errors import OutcomeUnknownError, ReciboError, TransientError
from service.eventlog.deliveries import NewDelivery
from service.kafka import topics
from service.kafka.heartbeat import TopicUnusableError, beat
from service.kafka.producer import idempotent_producer
from service.spill import wire
from service.waiting import STALLED_AFTER_S, Rounds, Waiting, either

logger = structlog.get_logger()

SEND_S_MAX: Final = 3.0
"""For one batch to be confirmed."""

_HEARTBEAT_S: Final = 1.0
"""Between the requests by which an idle writer knows of its brokers: one to each, as small as there are."""

_AWAY_S_MAX: Final = 1.0
"""Between looks at a Kafka that is away: one that is back is used again within two seconds."""

_DOUBT_S_MAX: Final = 20.0
"""A batch may be in doubt that long before another producer takes over."""


class Spilled(NamedTuple):
    """Where a row is in `webhooks.spill`."""

    partition: int
    offset: int


class SpillWriter:
    """Writes the rows of one log."""

    def __init__(
        self, *, bootstrap: str, prefix: str, log: str, stalled_after_s: float = STALLED_AFTER_S
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = prefix + topics.SPILL
        self._log = log
        self._partitions = itertools.cycle(range(PARTITIONS))
        self._producer: AIOKafkaProducer | None = None
        self._in_doubt: asyncio.Task[list[Spilled]] | None = None
        self._doubted = asyncio.Event()
        self._writing = False
        self._waiting = Waiting("spill", longest_s=_AWAY_S_MAX)
        self._rounds = Rounds("spill", stalled_after_s=stalled_after_s)
        self._reason: str | None = None
        """Why nothing can be spilled, as far as is known."""
        self.tried = asyncio.Event()
        """Set once it is known whether Kafka was there at the start."""
        telemetry.INGRESS_SPILL_AWAY.set(1)

    @property
    def away(self) -> bool:
        """Whether `write` would refuse at once."""
        return self._producer is None

    def health(self) -> Mapping[str, object]:
        """Whether a batch would be taken, as far as is known, and if not, why."""
        reason = {"reason": self._reason} if self.away and self._reason else {}
        return {"spill": "away" if self.away else "ok", **reason, **self._waiting.details()}

    async def write(self, rows: Sequence[NewDelivery]) -> Sequence[Spilled]:
        """Where each of `rows` is, once all are on disk.

        Raises TransientError at once while Kafka is away: none was sent. Raises OutcomeUnknownError if
        they were sent and not confirmed: each of them may be there, now or later.
        """
        producer = self._producer
        if producer is None:
            raise TransientError("Kafka is away", store="kafka")
        sending = asyncio.create_task(self._send(producer, rows))
        self._writing = True
        try:
            async with asyncio.timeout(SEND_S_MAX):
                return await asyncio.shield(sending)
        except Exception as error:
            self._in_doubt = sending
            self._doubted.set()
            self._leave("a batch is not confirmed")
            raise OutcomeUnknownError(
                f"Kafka did not confirm the spill ({type(error).__name__})", store="kafka"
            ) from error
        finally:
            self._writing = False

    async def run(self, stopping: asyncio.Event) -> None:
        """Keep a connected producer ready until `stopping` is set, which is when no row comes any more."""
        while not stopping.is_set():
            try:
                self._rounds.step("starting the Kafka producer", "kafka")
                async with self._rounds.watched(), idempotent_producer(self._bootstrap) as producer:
                    # First of all: whoever asks a producer for a topic asks for it by name, again and again.
                    await beat(producer.client, self._topic, partitions=PARTITIONS)
                    await producer.partitions_for(self._topic)
                    self._ready(producer)
                    await self._until_useless(producer, stopping)
            except Exception as error:  # noqa: BLE001
                # Whatever aiokafka calls it: the next producer begins anew, with an identity of its own.
                self._away(error)
                self.tried.set()
                await self._waiting.after(error, stopping)
        self._leave("the ingress stops")

    def _ready(self, producer: AIOKafkaProducer) -> None:
        self._waiting.over()
        self._producer = producer
        self._reason = None
        telemetry.INGRESS_SPILL_AWAY.set(0)
        self.tried.set()

    def _leave(self, reason: str) -> None:
        """Refuse every batch from now on."""
        self._producer = None
        self._reason = reason
        telemetry.INGRESS_SPILL_AWAY.set(1)

    def _away(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, ReciboError) else type(error).__name__
        # Once, and not at each try: deliveries go on to the log, and nothing ends because of a topic.
        if isinstance(error, TopicUnusableError) and reason != self._reason:
            logger.error("ingress.spill_unusable", detail=reason)
        self._leave(reason)

    async def _until_useless(self, producer: AIOKafkaProducer, stopping: asyncio.Event) -> None:
        while True:
            self._rounds.came_round()
            self._rounds.step("waiting for the next heartbeat")
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT_S):
                    await either(self._doubted, stopping)
            if stopping.is_set():
                return
            if self._doubted.is_set():
                self._doubted.clear()
                assert self._in_doubt is not None
                self._rounds.step("waiting for a batch in doubt", "kafka")
                await self._resolved(self._in_doubt, stopping)
                self._ready(producer)
            elif not self._writing:
                self._rounds.step("asking Kafka whether it is there", "kafka")
                await self._beat(producer)

    async def _beat(self, producer: AIOKafkaProducer) -> None:
        """Return if Kafka would take a batch. Raises why not, and every batch is refused by then."""
        try:
            await beat(producer.client, self._topic, partitions=PARTITIONS)
        except Exception as error:
            # A batch that was sent meanwhile is confirmed or in doubt by itself, and soon.
            if not self._writing and not self._doubted.is_set():
                self._away(error)
                raise

    async def _resolved(self, sending: "asyncio.Task[list[Spilled]]", stopping: asyncio.Event) -> None:
        """Return once the batch in doubt is there after all. Raises why it, and the producer, are lost."""
        self._waiting.began(TransientError("a batch is not confirmed", store="kafka"))
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait((sending, stopped), timeout=_DOUBT_S_MAX, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if sending.done():
            sending.result()
        elif not stopping.is_set():
            raise TransientError("a batch stayed unconfirmed", store="kafka")

    async def _send(self, producer: AIOKafkaProducer, rows: Sequence[NewDelivery]) -> list[Spilled]:
        batches = self._batches(producer, rows)
        futures = [
            await producer.send_batch(batch, self._topic, partition=next(self._partitions))
            for batch in batches
        ]
        places: list[Spilled] = []
        for batch, at in zip(batches, await asyncio.gather(*futures), strict=True):
            places.extend(Spilled(at.partition, at.offset + index) for index in range(batch.record_count()))
        return places

    def _batches(self, producer: AIOKafkaProducer, rows: Sequence[NewDelivery]) -> list[BatchBuilder]:
        """`rows` in as few batches as their size allows: Kafka flushes each by itself."""
        batches = [producer.create_batch()]
        for row in rows:
            if not self._append(batches[-1], row):
                batches.append(producer.create_batch())
                self._append(batches[-1], row)
        return batches

    def _append(self, batch: BatchBuilder, row: NewDelivery) -> bool:
        headers = wire.encode(row, log=self._log)
        return batch.append(timestamp=None, key=None, value=row.body, headers=headers) is not None
