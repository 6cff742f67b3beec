"""A record that Kafka refuses for its size stops nobody: a marker goes out, and the log has it whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from service.eventlog.deliveries import append_batch
from service.eventlog.events import NewEvent, append_events
from service.kafka import administration, topics
from service.localstack import Stack
from service.postgres import connect
from service.relay.relay import Relay
from tests.deliveries import admin_payment
from tests.projectors import ends, fold_up_to, projector_of
from tests.relays import Published, published, relay_of
from tests.servers import Kafka, eventually, fresh_prefix

SIZE = "max.message.bytes"
LIMIT = 20_000


@pytest.fixture
async def kafka(stack: Stack, request: pytest.FixtureRequest) -> Kafka:
    """All topics, of which one takes no record over some bytes: (topic, bytes) is the parameter."""
    prefix = fresh_prefix()
    topic, limit = getattr(request, "param", ("carts", LIMIT))
    async with administrator(stack.kafka_bootstrap) as client:
        await client.create_topics(
            [NewTopic(prefix + topic, 12, 1, topic_configs=configs_of(topic) | {SIZE: str(limit)})]
        )
    await administration.create(stack.kafka_bootstrap, prefix, replicas=1)
    return Kafka(bootstrap=stack.kafka_bootstrap, prefix=prefix)


@asynccontextmanager
async def administrator(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


def configs_of(topic: str) -> dict[str, str]:
    return next(each.configs for each in topics.TOPICS if each.name == topic)


def event(number: int, topic: str, value: bytes) -> NewEvent:
    root = f"shop:order:{number % 3}"
    return NewEvent(
        topic=topic,
        key=root,
        partition_key=root,
        event_id=f"{root}@0001.{number:010}/0",
        headers=orjson.dumps(
            {
                "ce_specversion": "1.0",
                "ce_id": f"{root}@0001.{number:010}/0",
                "ce_source": "/recibo/main",
                "ce_type": "order.paid",
                "ce_partitionkey": root,
            }
        ).decode(),
        value=value,
    )


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(relay.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def publish_all(relay: Relay, up_to: int) -> None:
    async def reached() -> bool:
        return relay.position >= up_to

    async with running(relay):
        await eventually(reached, what=f"the relay has published up to {up_to}")


def require_chained(records: list[Published]) -> None:
    last: dict[int, int] = {}
    for record in records:
        assert record.previous == last.get(record.partition, 0)
        last[record.partition] = record.position


@pytest.mark.parametrize("kafka", [("orders", LIMIT)], indirect=True)
async def test_one_record_that_kafka_refuses_is_marked_and_all_others_go_out(
    database_url: str, kafka: Kafka
) -> None:
    connection = await connect(database_url, application="test")
    large = b'{"a":"%s"}' % (b"x" * LIMIT)
    async with connection.transaction():
        await append_events(
            connection, [event(n, "orders", large if n in {5, 17} else b"{}") for n in range(1, 31)]
        )
    await connection.close()

    with structlog.testing.capture_logs() as lines:
        await publish_all(relay_of("events", database_url, kafka), 30)

    records = await published(kafka, ["orders"])
    require_chained(records)
    assert sorted(record.position for record in records) == list(range(1, 31))
    markers = {r.position: r for r in records if r.headers["ce_type"] == "record.too_large"}
    assert set(markers) == {5, 17}
    said = orjson.loads(markers[5].value or b"")
    assert (said["position"], said["id"], said["root"]) == (
        5,
        "shop:order:2@0001.0000000005/0",
        "shop:order:2",
    )
    assert said["bytes"] > LIMIT
    told = [line for line in lines if line["event"] == "relay.record_too_large"]
    assert {(line["position"], line["root"], line["topic"]) for line in told} == {
        (5, "shop:order:2", "orders"),
        (17, "shop:order:2", "orders"),
    }


@pytest.mark.parametrize("kafka", [("orders.state", LIMIT)], indirect=True)
async def test_on_a_compacted_topic_nothing_takes_the_place_of_the_newest_state(
    database_url: str, kafka: Kafka
) -> None:
    connection = await connect(database_url, application="test")
    async with connection.transaction():
        await append_events(
            connection,
            [
                event(1, "orders.state", b'{"small":1}'),
                event(4, "orders.state", b"x" * LIMIT),
                event(7, "orders", b"{}"),
            ],
        )
    await connection.close()

    await publish_all(relay_of("events", database_url, kafka), 3)

    states = await published(kafka, ["orders.state"])
    assert [record.value for record in states] == [b'{"small":1}']
    assert [record.position for record in await published(kafka, ["orders"])] == [3]


@pytest.mark.parametrize("kafka", [("orders", 100)], indirect=True)
async def test_a_topic_that_takes_no_marker_either_is_an_outage_and_nothing_is_marked_after_it(
    database_url: str, kafka: Kafka
) -> None:
    connection = await connect(database_url, application="test")
    async with connection.transaction():
        await append_events(connection, [event(n, "orders", b"{}") for n in range(1, 4)])
    await connection.close()
    relay = relay_of("events", database_url, kafka)

    async def waits() -> bool:
        return relay.waiting.details().get("waiting_for") == "kafka"

    async def reached() -> bool:
        return relay.position == 3

    with structlog.testing.capture_logs() as lines:
        async with running(relay):
            await eventually(waits, what="the relay waits for Kafka")
            await _lift_the_limit(kafka, "orders")
            await eventually(reached, what="the relay has published everything")

    records = await published(kafka, ["orders"])
    assert [record.headers["ce_type"] for record in records] == ["order.paid"] * 3
    assert any("recibo topics" in line.get("detail", "") for line in lines)


@pytest.mark.parametrize("kafka", [(topics.RAW, LIMIT)], indirect=True)
async def test_the_projector_reads_a_marked_delivery_from_the_log(database_url: str, kafka: Kafka) -> None:
    connection = await connect(database_url, application="test")
    payments = [
        admin_payment(f"pay_{n}", "APPROVED", note="x" * LIMIT if n in {3, 8} else "") for n in range(9)
    ]
    await append_batch(connection, payments)

    await publish_all(relay_of("deliveries", database_url, kafka), 9)
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, await ends(connection))

    found = await connection.fetchval("select count(*) from order_state where status = 'paid'")
    await connection.close()
    records = await published(kafka)
    require_chained(records)
    assert sum(record.headers["ce_type"] == "record.too_large" for record in records) == 2
    assert found == 9


async def _lift_the_limit(kafka: Kafka, topic: str) -> None:
    configs = configs_of(topic) | {SIZE: "2097152"}
    async with administrator(kafka.bootstrap) as client:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kafka.prefix + topic, configs)])
