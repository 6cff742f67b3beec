"""Topics are made on purpose, never by auto-creation, and checked before they are used.

`recibo topics` makes what is missing, compares what is there with what the promises rest on, and alters it
where it is told to. A role refuses a topic that it uses with another number of partitions: a root would move
to another one, and order would be lost.

What there is, is listed: no topic is asked for by its name before the list has it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from service.errors import InvariantError, TransientError
from service.kafka.differences import INSYNC, Difference, Found, differences
from service.kafka.topics import TOPICS, Topic, insync_replicas
from service.waiting import Waiting, answered_within

_REQUEST_S_MAX: Final = 10.0
_CHECK_S_MAX: Final = 30.0
"""For the start, the list and the end of a client together: none of them may wait for ever."""
_CREATE_S_MAX: Final = 30.0
_LOOK_INTERVAL_S: Final = 0.05
_LOOKS_MAX: Final = 600

_DYNAMIC_TOPIC_CONFIG: Final = 1
"""Kafka's number for a value that was set on the topic itself."""

_BY_NAME: Final = {topic.name: topic for topic in TOPICS}

_Description = Mapping[str, Any]


async def create(bootstrap: str, prefix: str, *, replicas: int) -> list[str]:
    """Create what is missing, on `replicas` brokers each; the names created. What exists is left as it is.

    Raises TransientError while Kafka is away or has fewer brokers than that.
    """
    async with _administrator(bootstrap, "make the topics", timeout_s=_CREATE_S_MAX + 5) as admin:
        existing = await _descriptions(admin)
        missing = [topic for topic in TOPICS if prefix + topic.name not in existing]
        if missing:
            await _insist_on_brokers(admin, replicas)
        response = await admin.create_topics(
            [
                NewTopic(
                    name=prefix + topic.name,
                    num_partitions=topic.partitions,
                    replication_factor=replicas,
                    topic_configs=topic.configs | {INSYNC: str(insync_replicas(replicas))},
                )
                for topic in missing
            ],
            timeout_ms=int(_CREATE_S_MAX * 1000),
        )
        _raise_for(response.topic_errors)
        await _until_known(admin, [prefix + topic.name for topic in TOPICS])
        return [prefix + topic.name for topic in missing]


async def compare(bootstrap: str, prefix: str, *, replicas: int) -> Sequence[Difference]:
    """List what breaks a promise, topic by topic, where `replicas` are wanted.

    Raises TransientError while Kafka is away or a topic is missing.
    """
    async with _administrator(bootstrap, "describe the topics") as admin:
        return await _compare(admin, prefix, replicas)


async def alter(bootstrap: str, prefix: str, *, replicas: int) -> Sequence[Difference]:
    """Alter each setting that differs and can be altered; those that were altered, once Kafka shows them so.

    What else was set on a topic stays as it was set. Raises TransientError while Kafka is away.
    """
    async with _administrator(bootstrap, "alter the topics") as admin:
        altered = [each for each in await _compare(admin, prefix, replicas) if each.can_be_altered]
        by_topic: dict[str, dict[str, str]] = defaultdict(dict)
        for each in altered:
            by_topic[each.topic][each.setting] = each.wanted
        if by_topic:
            await _alter(admin, by_topic)
        for _ in range(_LOOKS_MAX):
            if not any(each.can_be_altered for each in await _compare(admin, prefix, replicas)):
                return altered
            await asyncio.sleep(_LOOK_INTERVAL_S)
    raise TransientError("Kafka took the settings, but does not show them: look at its log", store="kafka")


async def check(bootstrap: str, prefix: str, names: Iterable[str]) -> None:
    """Return if the topics `names` (without prefix) are there and have their partitions.

    Raises InvariantError if one has others, TransientError if one is missing or Kafka is away.
    """
    async with _administrator(bootstrap, "be asked") as admin:
        existing = await _descriptions(admin)
    for name in names:
        refuse_wrong(prefix + name, existing.get(prefix + name), partitions=_BY_NAME[name].partitions)


async def await_right(
    bootstrap: str, prefix: str, names: Iterable[str], stopping: asyncio.Event, waiting: Waiting
) -> None:
    """Return once Kafka could be asked and the topics `names` are there, or when `stopping` is set.

    Raises InvariantError if one has other partitions.
    """
    while not stopping.is_set():
        try:
            async with answered_within(_CHECK_S_MAX, "kafka", f"list its topics at {bootstrap}"):
                await check(bootstrap, prefix, names)
        except TransientError as error:
            await waiting.after(error, stopping)
        else:
            waiting.over()
            return


def refuse_wrong(name: str, description: _Description | None, *, partitions: int) -> None:
    """Raise TransientError if Kafka has no such topic, InvariantError if it has not these partitions."""
    count = len(description["partitions"]) if description else 0
    if count == 0:
        raise _missing(name)
    if count != partitions:
        raise InvariantError(
            f"topic {name} has {count} partitions, not {partitions}: "
            "roots would change places; use another prefix, or make the topic anew"
        )


def _missing(name: str) -> TransientError:
    return TransientError(f"topic {name} is missing: run `recibo topics`", store="kafka")


@asynccontextmanager
async def _administrator(
    bootstrap: str, what: str, *, timeout_s: float = _REQUEST_S_MAX
) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client for administration. Raises TransientError, which says that Kafka cannot `what` now."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=int(timeout_s * 1000))
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise TransientError(
            f"Kafka at {bootstrap} cannot {what} now ({type(error).__name__})", store="kafka"
        ) from error
    finally:
        await admin.close()


async def _descriptions(admin: AIOKafkaAdminClient) -> Mapping[str, _Description]:
    """Every topic that there is, by its name."""
    # With no name in it: a request that names a topic can create it.
    return {each["topic"]: each for each in await admin.describe_topics()}


async def _insist_on_brokers(admin: AIOKafkaAdminClient, replicas: int) -> None:
    brokers = len((await admin.describe_cluster())["brokers"])
    if brokers < replicas:
        raise TransientError(
            f"the topics are to be on {replicas} brokers, and {brokers} of Kafka's work: start the others, "
            "or set replicas under [kafka] in recibo.toml to fewer",
            store="kafka",
        )


async def _until_known(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    # A topic is created before every broker knows it and its leaders.
    for _ in range(_LOOKS_MAX):
        existing = await _descriptions(admin)
        if all(_has_leaders(existing.get(name)) for name in names):
            return
        await asyncio.sleep(_LOOK_INTERVAL_S)
    raise TransientError(
        "Kafka created the topics, but does not give them leaders: look at its log", store="kafka"
    )


def _has_leaders(description: _Description | None) -> bool:
    partitions = description["partitions"] if description else ()
    return bool(partitions) and all(partition["leader"] >= 0 for partition in partitions)


def _raise_for(topic_errors: Iterable[tuple[str, int, str]]) -> None:
    for name, code, _message in topic_errors:
        error = for_code(code)
        # Another `recibo topics` was faster; what it made is compared like the rest.
        if code and error is not TopicAlreadyExistsError:
            raise InvariantError(f"Kafka refuses to create {name}: {error.__name__}")


async def _compare(admin: AIOKafkaAdminClient, prefix: str, replicas: int) -> Sequence[Difference]:
    existing = await _descriptions(admin)
    for topic in TOPICS:
        if prefix + topic.name not in existing:
            raise _missing(prefix + topic.name)
    configs = await _configs(admin, [prefix + topic.name for topic in TOPICS])
    return [
        difference
        for topic in TOPICS
        for difference in _differences(topic, existing[prefix + topic.name], configs, replicas)
    ]


def _differences(
    topic: Topic, description: _Description, configs: Mapping[str, Sequence[Mapping[str, Any]]], replicas: int
) -> Sequence[Difference]:
    name = description["topic"]
    found = Found(
        partitions=len(description["partitions"]),
        replicas=min(len(partition["replicas"]) for partition in description["partitions"]),
        configs={entry["config_names"]: entry["config_value"] for entry in configs[name]},
    )
    return differences(topic, name, found, replicas=replicas)


async def _configs(
    admin: AIOKafkaAdminClient, names: Sequence[str]
) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Every setting of each topic, as it is in force."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    for _ in range(_LOOKS_MAX):
        (response,) = await admin.describe_configs(resources)
        described = response.to_object()["resources"]
        if all(one["error_code"] != UnknownTopicOrPartitionError.errno for one in described):
            _refuse(described, "describe")
            return {one["resource_name"]: one["config_entries"] for one in described}
        # A broker that does not know a new topic yet; the list came from another one.
        await asyncio.sleep(_LOOK_INTERVAL_S)
    raise TransientError("a broker does not know all topics: look at its log", store="kafka")


async def _alter(admin: AIOKafkaAdminClient, by_topic: Mapping[str, Mapping[str, str]]) -> None:
    configs = await _configs(admin, list(by_topic))
    # aiokafka 0.14 knows only the request that resets what it does not name.
    responses = await admin.alter_configs(
        [
            ConfigResource(
                ConfigResourceType.TOPIC,
                name,
                {
                    entry["config_names"]: entry["config_value"]
                    for entry in configs[name]
                    if entry["config_source"] == _DYNAMIC_TOPIC_CONFIG
                }
                | dict(settings),
            )
            for name, settings in by_topic.items()
        ]
    )
    for response in responses:
        _refuse(response.to_object()["resources"], "alter")


def _refuse(resources: Iterable[Mapping[str, Any]], what: str) -> None:
    for one in resources:
        if one["error_code"]:
            error = for_code(one["error_code"])
            raise InvariantError(f"Kafka refuses to {what} {one['resource_name']}: {error.__name__}")
