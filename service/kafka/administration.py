"""Topics are made on purpose, never by auto-creation, and checked before they are used.

`recibo topics` makes what is missing and changes nothing that exists. Every role refuses a topic
with another number of partitions: a root would move to another one, and order would be lost.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from service.errors import InvariantError, TransientError
from service.kafka.topics import TOPICS
from service.waiting import Waiting

_REPLICATION_MAX = 3
_LOOK_INTERVAL_S = 0.05
_LOOKS_MAX = 600


async def create(bootstrap: str, prefix: str) -> list[str]:
    """Create what is missing; the names created. Each on three brokers, or on all where there are fewer.

    Raises TransientError while Kafka is away, InvariantError if a topic has other partitions.
    """
    async with _administrator(bootstrap, "make the topics") as admin:
        existing = await admin.list_topics()
        missing = [topic for topic in TOPICS if prefix + topic.name not in existing]
        replication = min(_REPLICATION_MAX, len((await admin.describe_cluster())["brokers"]))
        response = await admin.create_topics(
            [
                NewTopic(
                    name=prefix + topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=replication,
                    topic_configs=topic.configs
                    | {
                        # An acknowledged record is on all of them but one at least.
                        "min.insync.replicas": str(max(1, replication - 1)),
                        # A record's timestamp is the log's recorded_at. By default a broker whose clock is
                        # an hour behind Postgres's refuses it, and all behind it would wait.
                        "message.timestamp.after.max.ms": str(2**63 - 1),
                    },
                )
                for topic in missing
            ],
            timeout_ms=30_000,
        )
        _raise_for(response.topic_errors)
        await _until_known(admin, prefix)
        _check(prefix, await _described(admin, prefix))
        return [prefix + topic.name for topic in missing]


async def check(bootstrap: str, prefix: str) -> None:
    """Return if all topics are right.

    Raises InvariantError if one has other partitions, TransientError if one is missing or Kafka is away.
    """
    async with _administrator(bootstrap, "be asked") as admin:
        _check(prefix, await _described(admin, prefix))


async def await_right(bootstrap: str, prefix: str, stopping: asyncio.Event, waiting: Waiting) -> None:
    """Return once Kafka could be asked and all topics are there, or when `stopping` is set.

    Raises InvariantError if one has other partitions.
    """
    while not stopping.is_set():
        try:
            await check(bootstrap, prefix)
        except TransientError as error:
            await waiting.after(error, stopping)
        else:
            waiting.over()
            return


@asynccontextmanager
async def _administrator(bootstrap: str, what: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for administration. Raises TransientError, which says that Kafka cannot `what` now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise TransientError(
            f"Kafka at {bootstrap} cannot {what} now ({type(error).__name__})", store="kafka"
        ) from error
    finally:
        await admin.close()


async def _described(admin: AIOKafkaAdminClient, prefix: str) -> list[dict[str, Any]]:
    described: list[dict[str, Any]] = await admin.describe_topics([prefix + topic.name for topic in TOPICS])
    return described


async def _until_known(admin: AIOKafkaAdminClient, prefix: str) -> None:
    # A topic is created before every broker knows it and its leaders.
    for _ in range(_LOOKS_MAX):
        described = await _described(admin, prefix)
        if all(_has_leaders(topic) for topic in described):
            return
        await asyncio.sleep(_LOOK_INTERVAL_S)
    raise TransientError(
        "Kafka created the topics, but does not give them leaders: look at its log", store="kafka"
    )


def _has_leaders(description: dict[str, Any]) -> bool:
    partitions = description["partitions"]
    return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)


def _raise_for(topic_errors: Iterable[tuple[str, int, str]]) -> None:
    for name, code, _message in topic_errors:
        error = for_code(code)
        # Another `recibo topics` was faster; what it made is checked like the rest.
        if code and error is not TopicAlreadyExistsError:
            raise InvariantError(f"Kafka refuses to create {name}: {error.__name__}")


def _check(prefix: str, descriptions: Iterable[dict[str, Any]]) -> None:
    found = {description["topic"]: len(description["partitions"]) for description in descriptions}
    for topic in TOPICS:
        count = found.get(prefix + topic.name, 0)
        if count == 0:
            raise TransientError(
                f"topic {prefix + topic.name} is missing: run `recibo topics`", store="kafka"
            )
        if count != topic.partitions:
            raise InvariantError(
                f"topic {prefix + topic.name} has {count} partitions, not {topic.partitions}: "
                "roots would change places; use another prefix, or make the topic anew"
            )
