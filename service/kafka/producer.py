"""The producers: the relay's transactional one, and the lifeboat's idempotent one.

The transactional one publishes whole batches of several partitions, all or nothing. aiokafka 0.14
commits a transaction although a batch of it failed, so whoever sends awaits every future that `send`
returns before committing. Its `start` initialises the producer id, which fences every earlier producer of
the same transactional id and waits until what that one left open is aborted.

Neither ever gives up a batch that could not be sent: aiokafka tries an idempotent producer's batches
again without end. Who cannot wait so long gives up waiting, and says what that leaves open.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Generic, NamedTuple, Protocol, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from service.errors import TransientError
from service.kafka.ending import end
from service.kafka.topics import RECORD_BYTES_MAX

BATCH_BYTES_MAX = 512 * 1024
"""With the default of 16 KiB a pass is many batches per partition, sent one after the other: 147 ms
for 1,000 deliveries over 12 partitions, 41 ms so."""

TRANSACTION_TIMEOUT_MS = 30_000
"""A killed producer's open transaction holds readers up for at most this long if none succeeds it."""

START_TIMEOUT_S = 20.0

LIFEBOAT_BATCH_BYTES_MAX = RECORD_BYTES_MAX // 2
"""Each batch is an fsync of Kafka's: few and large ones."""

LIFEBOAT_TIMEOUT_MS = 1_500
"""A broker that hangs is tried again after this, so one that is back is seen within two seconds."""


class Sendable(Protocol):
    """A record with everything but its place."""

    @property
    def key(self) -> bytes: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...
    @property
    def timestamp_ms(self) -> int: ...


_Record = TypeVar("_Record", bound=Sendable)


@asynccontextmanager
async def transactional_producer(bootstrap: str, transactional_id: str) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer that has fenced its predecessors. Raises what aiokafka raises."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        acks="all",
        max_batch_size=BATCH_BYTES_MAX,
        max_request_size=RECORD_BYTES_MAX,
        request_timeout_ms=15_000,
    )
    async with _started(producer):
        yield producer


@asynccontextmanager
async def idempotent_producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer whose records are on every in-sync replica once confirmed, each once."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        acks="all",
        max_batch_size=LIFEBOAT_BATCH_BYTES_MAX,
        max_request_size=RECORD_BYTES_MAX,
        request_timeout_ms=LIFEBOAT_TIMEOUT_MS,
    )
    async with _started(producer):
        yield producer


@asynccontextmanager
async def _started(producer: AIOKafkaProducer) -> AsyncIterator[None]:
    try:
        await _start(producer)
        yield
    finally:
        # What it held is in the log, or was told to be in doubt; the next producer of a transactional id
        # aborts what this one left open.
        await end(producer)


async def _start(producer: AIOKafkaProducer) -> None:
    try:
        # Without a limit it would ask for its identity until Kafka answers, and nobody would know why.
        await asyncio.wait_for(producer.start(), START_TIMEOUT_S)
    except TimeoutError as error:
        raise TransientError("Kafka gives a producer no identity", store="kafka") from error


class Batch(NamedTuple, Generic[_Record]):
    """Records that were handed to a producer together: Kafka takes all of them or none."""

    records: Sequence[_Record]
    sent: Awaitable[object]
    """Raises what Kafka said of the batch."""


async def send(
    producer: AIOKafkaProducer,
    topic: str,
    partition: int,
    records: Iterable[_Record],
    *,
    alone: Callable[[_Record], bool] = lambda _record: False,
) -> list[Batch[_Record]]:
    """Hand `records` to the producer, in order, in as few batches as their size allows.

    One that is to be `alone` shares its batch with no other. Returns the batches, whose `sent` is to be
    awaited before anything that rests on them.
    """
    batches: list[Batch[_Record]] = []
    builder, together = producer.create_batch(), list[_Record]()

    async def hand_over() -> None:
        nonlocal builder, together
        sent = await producer.send_batch(builder, topic, partition=partition)
        batches.append(Batch(together, sent))
        builder, together = producer.create_batch(), []

    for record in records:
        if together and (alone(record) or alone(together[-1])):
            await hand_over()
        if _append(builder, record) is None:
            await hand_over()
            _append(builder, record)
        together.append(record)
    if together:
        await hand_over()
    return batches


def _append(batch: BatchBuilder, record: Sendable) -> object:
    return batch.append(
        timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=record.headers
    )
