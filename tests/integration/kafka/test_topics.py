"""Topics are made on purpose, with every setting that a promise rests on, and never by asking for them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.metadata import MetadataRequest, MetadataRequest_v5

from service.errors import TransientError
from service.kafka import administration, topics
from service.kafka.differences import Difference
from service.kafka.topics import TOPICS
from service.localstack import LOCAL, Stack
from service.localstack.kafka import Kafka as LocalKafka
from service.localstack.ports import free_port
from tests.outages import health, lines
from tests.roles import CONFIG, NO_SPILL, Process, role
from tests.servers import Kafka, eventually, fresh_prefix

_DYNAMIC_TOPIC_CONFIG = 1


class CreatingKafka(LocalKafka):
    """A broker that creates whatever it is asked for."""

    def _all_settings(self) -> dict[str, str]:
        return super()._all_settings() | {"auto.create.topics.enable": "true", "num.partitions": "1"}


@pytest.fixture(scope="module")
def creating(run_folder: Path) -> Iterator[str]:
    """Where such a broker answers."""
    folder = run_folder / "creating"
    folder.mkdir(parents=True)
    broker = CreatingKafka(folder, LOCAL, lambda _: None)
    try:
        broker.prepare()
        broker.launch()
        yield broker.wait()
    finally:
        broker.stop()


@asynccontextmanager
async def admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def ours(kafka: Kafka) -> set[str]:
    """The topics under the prefix."""
    async with admin(kafka) as client:
        return {name for name in await client.list_topics() if name.startswith(kafka.prefix)}


async def settings_of(kafka: Kafka, topic: str) -> dict[str, tuple[str, int]]:
    """Setting → its value and where that was set."""
    async with admin(kafka) as client:
        (response,) = await client.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, kafka.prefix + topic)]
        )
    ((_code, _message, _type, _name, entries),) = response.resources
    return {name: (value, source) for name, value, _, source, *_ in entries}


async def give_more_partitions(kafka: Kafka, topic: str) -> None:
    """Return once Kafka shows 24 of it."""
    async with admin(kafka) as client:
        await client.create_partitions({kafka.prefix + topic: NewPartitions(24)})

    async def shown() -> bool:
        return (await compared(kafka)).get(f"{topic} partitions") == ("24", "12")

    await eventually(shown, what="Kafka shows the partitions")


async def compared(kafka: Kafka, *, replicas: int = 1) -> dict[str, tuple[str, str]]:
    """Topic and setting → what it is, what is wanted."""
    found = await administration.compare(kafka.bootstrap, kafka.prefix, replicas=replicas)
    return {f"{_bare(kafka, each)} {each.setting}": (each.found, each.wanted) for each in found}


def _bare(kafka: Kafka, difference: Difference) -> str:
    return difference.topic.removeprefix(kafka.prefix)


async def test_every_topic_carries_every_setting_that_a_promise_rests_on(kafka: Kafka) -> None:
    for topic in TOPICS:
        found = await settings_of(kafka, topic.name)

        wanted = topic.configs | {"min.insync.replicas": "1"}
        assert {name: found[name] for name in wanted} == {
            name: (value, _DYNAMIC_TOPIC_CONFIG) for name, value in wanted.items()
        }
        assert int(found["max.message.bytes"][0]) == 2 * 1024 * 1024
    assert await compared(kafka) == {}


async def test_what_breaks_a_promise_is_told_and_what_does_not_is_left_alone(kafka: Kafka) -> None:
    raw = dict(next(topic.configs for topic in TOPICS if topic.name == topics.RAW))
    await set_alone(kafka, topics.RAW, raw | {"retention.ms": "-1", "max.message.bytes": "9000000"})
    await set_alone(kafka, "orders", {"cleanup.policy": "compact", "retention.ms": "1000"})
    await set_alone(kafka, topics.SPILL, {"retention.ms": "-1", "min.insync.replicas": "2"})

    found = await compared(kafka)

    spill = {setting for name, _, setting in (each.partition(" ") for each in found) if name == topics.SPILL}
    assert not any(name.startswith(f"{topics.RAW} ") for name in found)
    assert found["orders cleanup.policy"] == ("compact", "delete")
    assert found["orders retention.ms"] == ("1000", str(4 * 7 * 24 * 3600 * 1000))
    assert found["orders max.message.bytes"] == ("1048588", str(2 * 1024 * 1024))
    assert spill == {
        "flush.messages",
        "max.message.bytes",
        "message.timestamp.type",
        "message.timestamp.after.max.ms",
        "min.insync.replicas",
    }


async def test_what_differs_is_altered_and_what_the_operator_set_besides_stays(kafka: Kafka) -> None:
    await set_alone(kafka, topics.SPILL, {"retention.ms": "3600000", "segment.ms": "86400000"})
    await set_alone(kafka, "carts.state", {"cleanup.policy": "delete", "min.cleanable.dirty.ratio": "0.1"})

    altered = await administration.alter(kafka.bootstrap, kafka.prefix, replicas=1)

    assert {_bare(kafka, each) for each in altered} == {topics.SPILL, "carts.state"}
    assert await compared(kafka) == {}
    assert (await settings_of(kafka, topics.SPILL))["segment.ms"] == ("86400000", _DYNAMIC_TOPIC_CONFIG)
    assert (await settings_of(kafka, "carts.state"))["min.cleanable.dirty.ratio"] == (
        "0.1",
        _DYNAMIC_TOPIC_CONFIG,
    )


async def test_partitions_and_replicas_are_told_and_left_as_they_are(kafka: Kafka) -> None:
    await give_more_partitions(kafka, "carts")

    await administration.alter(kafka.bootstrap, kafka.prefix, replicas=3)
    found = await compared(kafka, replicas=3)

    # Nor are more replicas asked to be in sync than there are: nothing would be taken any more.
    assert found.pop("carts partitions") == ("24", "12")
    assert found == {f"{topic.name} replicas": ("1", "3") for topic in TOPICS}


async def test_with_fewer_brokers_than_replicas_nothing_is_made_and_the_line_says_what_to_set(
    stack: Stack,
) -> None:
    kafka = Kafka(bootstrap=stack.kafka_bootstrap, prefix=fresh_prefix())

    with pytest.raises(
        TransientError, match=r"on 3 brokers, and 1 of Kafka's work.* set replicas under \[kafka\]"
    ):
        await administration.create(kafka.bootstrap, kafka.prefix, replicas=3)

    assert await ours(kafka) == set()


def test_no_client_asks_for_a_topic_in_the_manner_that_creates_it() -> None:
    asked = MetadataRequest(["orders"]).build(MetadataRequest_v5)

    assert asked.allow_auto_topic_creation is False


async def test_no_role_creates_a_topic_where_brokers_create_what_they_are_asked_for(
    creating: str, database_url: str, tmp_path: Path
) -> None:
    kafka = Kafka(bootstrap=creating, prefix=fresh_prefix())

    async with every_role(database_url, kafka, tmp_path) as roles:
        for process in roles.values():
            await eventually(partial(waits, process), what="each role waits for its topics")
        stored = await _post(roles["ingress"])
        assert await ours(kafka) == set()

        await administration.create(kafka.bootstrap, kafka.prefix, replicas=1)
        for process in roles.values():
            await eventually(partial(works, process), what="each role works", timeout_s=60)

        async with admin(kafka) as client:
            await client.delete_topics([kafka.prefix + topic.name for topic in TOPICS])
        await _post(roles["ingress"])
        for process in roles.values():
            await eventually(partial(waits, process), what="each misses its topics", timeout_s=120)
        assert await ours(kafka) == set()

    assert stored == 200


async def test_an_ingress_goes_on_whatever_topic_is_wrong_and_says_so_once_of_the_spill(
    database_url: str, kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("RECIBO_HEALTH_PORT", str(port))
    wrong = Kafka(bootstrap=kafka.bootstrap, prefix=fresh_prefix())
    async with admin(wrong) as client:
        await client.create_topics(
            [
                NewTopic(name=wrong.prefix + name, num_partitions=3, replication_factor=1)
                for name in ("carts", topics.SPILL)
            ]
        )

    async def listed() -> bool:
        return len(await ours(wrong)) == 2

    await eventually(listed, what="Kafka lists the topics")

    async with role("ingress", database_url, wrong, tmp_path, config=CONFIG + NO_SPILL) as ingress:
        await eventually(lambda: says(ingress, "3 partitions, not 12"), what="its health says why")
        statuses = [await _post(ingress) for _ in range(20)]
        gauge = await metric(port, "recibo_ingress_spill_away")
        async with admin(wrong) as client:
            await client.delete_topics([wrong.prefix + topics.SPILL])
        await eventually(lambda: says(ingress, "missing: run `recibo topics`"), what="its health says that")
        await administration.create(wrong.bootstrap, wrong.prefix, replicas=1)
        await eventually(lambda: works(ingress), what="the spill is ready")
        code = await ingress.stop()

    told = [str(line["detail"]) for line in lines(ingress, "ingress.spill_unusable")]
    assert statuses == [200] * 20
    assert code == 0
    assert gauge == 1.0
    assert len(told) == 2
    assert "webhooks.spill has 3 partitions" in told[0] and "webhooks.spill is missing" in told[1]


async def test_a_topic_that_is_wrong_halts_the_roles_that_use_it_and_no_other(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    await give_more_partitions(kafka, "carts")

    async with role("relay", database_url, kafka, tmp_path, crashpoint="none of them") as relay:
        code = await relay.process.wait()
    async with (
        role("projector", database_url, kafka, tmp_path) as projector,
        role("drain", database_url, kafka, tmp_path) as drain,
    ):
        for process in (projector, drain):
            await eventually(partial(works, process), what="it works", timeout_s=60)

    assert code == 3
    assert "carts has 24 partitions, not 12" in relay.log.read_text()


@asynccontextmanager
async def every_role(database_url: str, kafka: Kafka, folder: Path) -> AsyncIterator[dict[str, Process]]:
    async with (
        role("ingress", database_url, kafka, folder, config=CONFIG + NO_SPILL) as ingress,
        role("relay", database_url, kafka, folder, config=CONFIG + NO_SPILL) as relay,
        role("projector", database_url, kafka, folder, config=CONFIG + NO_SPILL) as projector,
        role("drain", database_url, kafka, folder, config=CONFIG + NO_SPILL) as drain,
    ):
        yield {"ingress": ingress, "relay": relay, "projector": projector, "drain": drain}


async def waits(process: Process) -> bool:
    """Whether a role says that it waits for Kafka."""
    roles = await health(process)
    if "spill" in roles:
        return dict[str, object](roles)["spill"] == "away"
    return any(details.get("waiting_for") == "kafka" for details in roles.values())


async def works(process: Process) -> bool:
    """Whether a role has what it needs of Kafka."""
    roles = await health(process)
    if "spill" in roles:
        return dict[str, object](roles)["spill"] == "ok"
    return all(
        "waiting_for" not in details and details.get("leading", True) and details.get("partitions", True)
        for details in roles.values()
    )


async def says(ingress: Process, reason: str) -> bool:
    return reason in str((await health(ingress)).get("reason", ""))


async def set_alone(kafka: Kafka, topic: str, configs: dict[str, str]) -> None:
    """Set these on a topic, and none besides."""
    async with admin(kafka) as client:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kafka.prefix + topic, configs)])

    async def shown() -> bool:
        found = await settings_of(kafka, topic)
        return configs == {
            name: value for name, (value, source) in found.items() if source == _DYNAMIC_TOPIC_CONFIG
        }

    await eventually(shown, what="Kafka shows the settings")


async def metric(port: int, name: str) -> float:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as answer:
        (line,) = (line for line in (await answer.text()).splitlines() if line.startswith(f"{name} "))
    return float(line.split()[1])


async def _post(ingress: Process) -> int:
    url = f"http://127.0.0.1:{ingress.port}/webhooks/shop"
    body = b'{"id": "pay_1", "type": "PAYMENT", "status": "APPROVED"}'
    async with aiohttp.ClientSession() as http, http.post(url, data=body) as answer:
        return answer.status
