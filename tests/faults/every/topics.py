"""Topics that somebody altered, and a Kafka that goes away while nobody needs it."""

import asyncio
from typing import Final

import aiohttp
from aiokafka.admin import NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from service.kafka import administration, topics
from tests.faults.every.kafka import admin
from tests.faults.fault import Fault
from tests.faults.scene import Scene
from tests.faults.supervision import PATIENCE_S
from tests.servers import eventually

_REFUSED_S_MAX: Final = 2.0
"""With both stores known to be away nobody waits for either."""

_ALTERED: Final = {
    # More than there are: nothing can be published any more.
    topics.RAW: {"min.insync.replicas": "2"},
    topics.SPILL: {"retention.ms": "1000", "flush.messages": "10000"},
    "orders.state": {"cleanup.policy": "delete", "segment.ms": "86400000"},
}
"""The last of them is nobody's promise."""


async def altered(scene: Scene) -> None:
    """Somebody alters three topics; `recibo topics` says what differs, and `--apply` mends it."""
    prefix = scene.kafka.prefix
    async with admin(scene) as client:
        await client.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, prefix + name, configs)
                for name, configs in _ALTERED.items()
            ]
        )
    await eventually(lambda: _is_told(scene), what="what was altered is told", timeout_s=PATIENCE_S)
    await scene.lasting(10)
    await scene.command("topics", "--apply")
    assert await scene.command("topics") == "all topics are there\n"
    async with admin(scene) as client:
        (response,) = await client.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, f"{prefix}orders.state", {"segment.ms": None})]
        )
    ((_code, _message, _type, _topic, ((_setting, kept, *_more),)),) = response.resources
    assert kept == "86400000", f"what the operator set beside became {kept}"


async def _is_told(scene: Scene) -> bool:
    found = await administration.compare(scene.kafka.bootstrap, scene.kafka.prefix, replicas=1)
    told = {(each.topic.removeprefix(scene.kafka.prefix), each.setting) for each in found}
    done = {(name, setting) for name, configs in _ALTERED.items() for setting in configs}
    return told >= done - {("orders.state", "segment.ms")}


async def dead_under_a_healthy_log(scene: Scene) -> None:
    """Kafka dies while the log takes everything, then Postgres too: it is known, and 503 comes at once."""
    await eventually(lambda: _spill_is(scene, "ok"), what="the spill is ready", timeout_s=PATIENCE_S)
    await asyncio.to_thread(scene.servers.kafka.kill)
    await eventually(lambda: _spill_is(scene, "away"), what="Kafka is known to be away", timeout_s=PATIENCE_S)
    await scene.load.answered(300)
    await asyncio.to_thread(scene.servers.postgres.kill)
    slowest = max([await _refused_after_s(scene) for _ in range(20)])
    assert slowest < _REFUSED_S_MAX, f"a refusal took {slowest:.1f} s"
    await scene.lasting(5)
    await scene.servers.give_back_postgres()
    await scene.load.answered(100)
    await scene.servers.give_back_kafka()
    await eventually(lambda: _spill_is(scene, "ok"), what="the spill is back", timeout_s=PATIENCE_S)
    assert not scene.roles["ingress"].has_said('"store": "spill"'), "a batch was in doubt in the spill"


async def _spill_is(scene: Scene, state: str) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{scene.roles['ingress'].url}/health") as answer:
        document = await answer.json()
    return bool(document["spill"] == state)


async def _refused_after_s(scene: Scene) -> float:
    """How long a delivery waits for its 503; with a forged secret none would get so far."""
    clock = asyncio.get_running_loop().time
    began = clock()
    url = f"{scene.roles['ingress'].url}/webhooks/gen"
    headers = {"Authorization": scene.environments["ingress"]["FAULTS_TOKEN"]}
    async with aiohttp.ClientSession(headers=headers) as http, http.post(url, data=b'{"probe": 1}') as answer:
        assert answer.status == 503, f"with both stores away a delivery got {answer.status}"
    return clock() - began


async def widened(scene: Scene) -> None:
    """`carts` gets other partitions while the ingress starts anew: it takes deliveries, the relay halts."""
    relay, ingress = scene.roles["relay"], scene.roles["ingress"]
    await relay.hold()
    name = scene.kafka.prefix + "carts"
    async with admin(scene) as client:
        await client.create_partitions({name: NewPartitions(24)})

        async def it_is() -> bool:
            (described,) = (each for each in await client.describe_topics() if each["topic"] == name)
            return len(described["partitions"]) == 24

        await eventually(it_is, what="carts has 24 partitions", timeout_s=PATIENCE_S)
        await ingress.hold()
        await ingress.start()
        await ingress.healthy()
        await scene.load.answered(300)
        await relay.start()
        await relay.said("carts has 24 partitions, not 12")
        await scene.load.answered(100)
        await relay.hold()
        # The one way back is a new topic: subscribers see by `prev` what only the event log still has.
        await client.delete_topics([name])

        async def it_is_gone() -> bool:
            return name not in await client.list_topics()

        await eventually(it_is_gone, what="carts is gone", timeout_s=PATIENCE_S)
    await scene.command("topics")
    await relay.start()
    await relay.healthy()


TOPICS: Final = (
    Fault(name="topics.altered", strike=altered),
    Fault(name="topics.dead_kafka_under_a_healthy_log", strike=dead_under_a_healthy_log),
    Fault(name="topics.widened_while_an_ingress_restarts", strike=widened),
)
