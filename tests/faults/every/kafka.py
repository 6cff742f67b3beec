"""What a Kafka does to those who rest on it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from projections.delivery import PARTITIONS
from service.kafka import topics
from tests.faults.every.postgres import owner
from tests.faults.fault import Fault
from tests.faults.scene import Scene
from tests.faults.supervision import PATIENCE_S
from tests.outages import frozen
from tests.servers import eventually

_SIGKILLED: Final = -9


@asynccontextmanager
async def admin(scene: Scene) -> AsyncIterator[AIOKafkaAdminClient]:
    """Kafka's own administration."""
    client = AIOKafkaAdminClient(bootstrap_servers=scene.kafka.bootstrap)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


async def restarted(scene: Scene) -> None:
    """SIGKILL, and a start at once on the data that is there."""
    await asyncio.to_thread(scene.servers.kafka.kill)
    await scene.servers.give_back_kafka()


async def away(scene: Scene) -> None:
    """Gone for half a minute."""
    await asyncio.to_thread(scene.servers.kafka.kill)
    await scene.lasting(30)
    await scene.servers.give_back_kafka()


async def stopped(scene: Scene) -> None:
    """SIGSTOP for 20 s: every connection stays, nothing answers."""
    assert scene.servers.kafka._child is not None
    with frozen(scene.servers.kafka._child.pid):
        await scene.lasting(20)


async def expired(scene: Scene) -> None:
    """What was published is gone before the projector read it: it fills from the log."""
    projector = scene.roles["projector"]
    await projector.hold()
    await scene.load.answered(600)
    raw = [TopicPartition(scene.kafka.prefix + topics.RAW, at) for at in range(PARTITIONS)]
    async with admin(scene) as client:
        await client.delete_records({partition: RecordsToDelete(-1) for partition in raw})
    await projector.start()
    await projector.said("projector.gap")
    await projector.healthy()


async def message_too_large(scene: Scene) -> None:
    """The broker takes no batch of more than 200 bytes for a while: not even a marker, so it is an outage."""
    raw = next(topic for topic in topics.TOPICS if topic.name == topics.RAW)
    configs = raw.configs | {"min.insync.replicas": "1"}
    async with admin(scene) as client:
        await _configure(scene, client, configs | {"max.message.bytes": "200"})
        await scene.roles["relay"].said("Kafka takes no record of")
        await scene.lasting(10)
        await _configure(scene, client, configs)


async def _configure(scene: Scene, client: AIOKafkaAdminClient, configs: dict[str, str]) -> None:
    topic = ConfigResource(ConfigResourceType.TOPIC, scene.kafka.prefix + topics.RAW, configs)
    await client.alter_configs([topic])


async def fenced(scene: Scene) -> None:
    """A relay that is swapped out loses its lock to a second one; when it is back, it is a zombie."""
    first = scene.roles["relay"]
    async with scene.another("relay") as second, owner(scene) as connection:
        first.freeze()
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and application_name like 'recibo-relay-%' and pid in"
            " (select pid from pg_locks where locktype = 'advisory')"
        )
        await eventually(lambda: _leads_both(second.log.read_bytes()), what="the second leads", timeout_s=60)
        await scene.load.answered(300)
        first.thaw()
        await scene.load.answered(300)


async def _leads_both(log: bytes) -> bool:
    return log.count(b"relay.leading") > 1


@asynccontextmanager
async def _relay_stays_down(scene: Scene) -> AsyncIterator[None]:
    scene.environments["relay"]["RECIBO_CRASHPOINT"] = "relay.checkpointed/deliveries@5"
    scene.roles["relay"].restarts = False
    yield


async def left_open(scene: Scene) -> None:
    """A relay is killed before it commits and stays away: Kafka ends its transaction after 30 s."""
    relay = scene.roles["relay"]
    await relay.died(_SIGKILLED)
    await scene.lasting(35)
    relay.restarts = True
    await relay.start()
    await relay.healthy()


async def checkpoint_deleted(scene: Scene) -> None:
    """Somebody deletes the relay's checkpoint; `recibo topics` makes the topic anew."""
    name = scene.kafka.prefix + topics.CHECKPOINT
    async with admin(scene) as client:
        await client.delete_topics([name])

        async def it_is_gone() -> bool:
            return name not in await client.list_topics()

        await eventually(it_is_gone, what="the topic is gone", timeout_s=PATIENCE_S)
    await scene.lasting(10)
    await scene.command("topics")


def _fault(strike: Callable[[Scene], Awaitable[None]], name: str) -> Fault:
    return Fault(name=f"kafka.{name}", strike=strike)


KAFKA: Final = (
    _fault(restarted, "killed_and_restarted"),
    _fault(away, "away"),
    _fault(stopped, "stopped"),
    _fault(expired, "records_expired_unread"),
    _fault(message_too_large, "message_too_large"),
    _fault(fenced, "producer_fenced"),
    Fault(name="kafka.transaction_left_open", strike=left_open, setting=_relay_stays_down),
    _fault(checkpoint_deleted, "checkpoint_deleted"),
)
