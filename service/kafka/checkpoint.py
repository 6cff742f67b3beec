"""How far a log is published: a record in Kafka, written in the transaction that publishes.

So what was published and how far that is cannot part. It names the row by more than its position,
for an older replica, or another log, has other rows at the same positions.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from projections.delivery import PARTITIONS
from service.kafka import topics
from service.kafka.consumer import Record, newest

PARTITION_OF_STREAM: Final = {"deliveries": 0, "events": 1}
"""Where in `relay.checkpoint` the streams of log `main` are; a further log would bring two more."""


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The last published row of one log, and the last position in each topic and partition."""

    position: int
    mark: str | None
    """The row's own mark; null if this was read from the topics' ends, which do not tell it."""
    last: dict[str, dict[int, int]]
    """Topic (without prefix) → partition → position of the last record there."""


def encode(checkpoint: Checkpoint) -> bytes:
    """The value of a checkpoint record; `read` decodes it."""
    return msgspec.json.encode(checkpoint)


def key(log: str, stream: str) -> str:
    """The checkpoint's key in its topic, `main/deliveries`."""
    return f"{log}/{stream}"


async def read(consumer: AIOKafkaConsumer, *, prefix: str, log: str, stream: str) -> Checkpoint | None:
    """The newest committed checkpoint of a stream (`deliveries`, `events`); null if there is none."""
    wanted = key(log, stream).encode()
    partition = TopicPartition(prefix + topics.CHECKPOINT, PARTITION_OF_STREAM[stream])
    found = await newest(consumer, [partition], lambda record: record.key == wanted)
    value = found[partition].value if found else None
    return None if value is None else msgspec.json.decode(value, type=Checkpoint)


async def read_from_the_ends(
    consumer: AIOKafkaConsumer, *, prefix: str, log: str, names: Sequence[str]
) -> Checkpoint:
    """Return what the ends of the topics `names` say of `log`; position 0 where all of them are empty.

    A partition without any record of the log may have had some that expired, unread by a consumer that is
    behind. So the position from which the relay resumes stands for its last one: the next record there names
    it as `prev`, and the consumer fills the gap from the log.
    """
    ours = ("log", log.encode())
    partitions = [
        TopicPartition(prefix + topic, partition) for topic in names for partition in range(PARTITIONS)
    ]
    last: dict[str, dict[int, int]] = {}
    for at, record in (await newest(consumer, partitions, lambda record: ours in record.headers)).items():
        last.setdefault(at.topic.removeprefix(prefix), {})[at.partition] = _position(record)
    position = max((at for partitions in last.values() for at in partitions.values()), default=0)
    if position:
        for topic in names:
            last[topic] = dict.fromkeys(range(PARTITIONS), position) | last.get(topic, {})
    return Checkpoint(position=position, mark=None, last=last)


def _position(record: Record) -> int:
    return int(dict(record.headers)["position"])
