"""What one order can do to everybody else: be too large for a record, or change without end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from projections.providers import root_of
from service.kafka import topics
from tests.bodies import document
from tests.faults.deliver import deliver_gen
from tests.faults.every.kafka import admin
from tests.faults.fault import Fault
from tests.faults.scene import Scene

_FACTS_MAX: Final = 300
_TEXT_BYTES: Final = 1_000_000
_SMALL_LIMIT: Final = 8_000


def _payment(number: int, order: str, **members: Any) -> dict[str, Any]:
    """A paid payment of Gen's order `order`."""
    sent = document("gen", "pix_paid")
    sent["data"] |= {"id": f"{order}-payment-{number}", "order_id": order, **members}
    return sent


def _root(sent: dict[str, Any]) -> str:
    return root_of("gen", "gen", sent, None)


async def too_large(scene: Scene) -> None:
    """Three payments of one order, each nearly as large as a body may be: Kafka could take no event of it."""
    sent = [
        _payment(n, "de300003-0000-4000-8000-0000000000ff", external_id="x" * _TEXT_BYTES) for n in range(3)
    ]
    scene.parks.add(_root(sent[0]))
    await deliver_gen(scene, map(orjson.dumps, sent))
    await scene.roles["projector"].said("fold.state_bytes_max")
    await scene.load.answered(400)


async def hot(scene: Scene) -> None:
    """One order gets far more facts than a root may have, beside the load."""
    sent = [_payment(n, "de300003-0000-4000-8000-0000000000fe") for n in range(3 * _FACTS_MAX)]
    scene.parks.add(_root(sent[0]))
    await deliver_gen(scene, map(orjson.dumps, sent))
    await scene.roles["projector"].said("fold.facts_max")
    await scene.load.answered(400)


@asynccontextmanager
async def _few_facts(scene: Scene) -> AsyncIterator[None]:
    config = scene.config.read_text(encoding="utf-8")
    scene.config.write_text(config.replace("[fold]", f"[fold]\nfacts_max = {_FACTS_MAX}"), encoding="utf-8")
    yield


async def refused_by_the_broker(scene: Scene) -> None:
    """Kafka takes no large record of orders and raw deliveries any more: markers stand for them."""
    for name in (topics.RAW, "orders"):
        await _limit(scene, name, _SMALL_LIMIT)
    sent = _payment(1, "de300003-0000-4000-8000-0000000000fd", external_id="x" * 4 * _SMALL_LIMIT)
    await deliver_gen(scene, [orjson.dumps(sent)])
    await scene.roles["relay"].said("relay.record_too_large")
    await scene.load.answered(400)


async def _limit(scene: Scene, name: str, limit: int) -> None:
    configs = next(topic.configs for topic in topics.TOPICS if topic.name == name)
    changed = configs | {"min.insync.replicas": "1", "max.message.bytes": str(limit)}
    async with admin(scene) as client:
        await client.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, scene.kafka.prefix + name, changed)]
        )


ROOTS: Final = (
    Fault(name="roots.too_large", strike=too_large),
    Fault(name="roots.hot", strike=hot, setting=_few_facts),
    Fault(name="roots.refused_by_the_broker", strike=refused_by_the_broker),
)
