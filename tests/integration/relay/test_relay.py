"""The relay publishes a log in order, each row once, and goes on where the last leader stopped."""

import asyncio

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from projections.delivery import routing_key
from service.errors import InvariantError
from service.eventlog.deliveries import append_batch
from service.kafka import topics
from service.kafka.partitioner import partition_of
from service.postgres import connect
from tests.deliveries import new_delivery
from tests.relays import drain, published, relay_of
from tests.servers import Kafka, restore_older


async def append(database_url: str, first: int, count: int, **columns: object) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(
        connection,
        [
            new_delivery(b"body %d" % n, root=f"shop:order:{n % 40}", **columns)
            for n in range(first, first + count)
        ],
    )
    await connection.close()


async def test_every_row_is_published_once_in_order_and_chained(database_url: str, kafka: Kafka) -> None:
    await append(database_url, 1, 350)

    await drain(relay_of("deliveries", database_url, kafka))

    records = await published(kafka)
    assert sorted(record.position for record in records) == list(range(1, 351))
    last: dict[int, int] = {}
    for record in records:
        assert record.previous == last.get(record.partition, 0)
        assert record.position > record.previous
        last[record.partition] = record.position


async def test_a_record_carries_every_column_that_meaning_needs(database_url: str, kafka: Kafka) -> None:
    body = b'{"exact":  "bytes"}'
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery(body, root="shop:order:1", kind="withdraw", trust="hmac")])
    recorded_at = await connection.fetchval("select recorded_at from delivery_log")
    await connection.close()

    await drain(relay_of("deliveries", database_url, kafka))

    (record,) = await published(kafka)
    assert record.value == body
    assert record.key == "shop:order:1"
    assert record.partition == partition_of("shop:order:1")
    assert record.headers == {
        "ce_specversion": "1.0",
        "ce_id": "main-1",
        "ce_source": "/webhooks/shop",
        "ce_type": "webhook.received",
        "ce_time": "2025-11-03T13:00:00.000000Z",
        "ce_partitionkey": "shop:order:1",
        "source": "shop",
        "account": "shop",
        "provider": "admin",
        "kind": "withdraw",
        "trust": "hmac",
        "recorded_at": recorded_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "content-type": "application/json",
        "log": "main",
        "position": "1",
    }


async def test_a_row_without_a_root_goes_where_its_position_says(database_url: str, kafka: Kafka) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery(root=None)])
    await connection.close()

    await drain(relay_of("deliveries", database_url, kafka))

    (record,) = await published(kafka)
    assert record.key == "?1"
    assert record.partition == partition_of(routing_key(None, 1))


async def test_a_body_of_one_mebibyte_reaches_kafka(database_url: str, kafka: Kafka) -> None:
    body = b"x" * 1_048_576
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery(b"before"), new_delivery(body), new_delivery(b"after")])
    await connection.close()

    await drain(relay_of("deliveries", database_url, kafka))

    records = sorted(await published(kafka), key=lambda record: record.position)
    assert [record.value for record in records] == [b"before", body, b"after"]


async def test_the_next_leader_goes_on_from_the_checkpoint(database_url: str, kafka: Kafka) -> None:
    await append(database_url, 1, 150)
    await drain(relay_of("deliveries", database_url, kafka))
    await append(database_url, 151, 50)

    count = await drain(relay_of("deliveries", database_url, kafka))

    records = await published(kafka)
    assert count == 50
    assert sorted(record.position for record in records) == list(range(1, 201))
    assert all(record.previous or record.position <= 40 for record in records)


async def test_without_a_checkpoint_it_goes_on_after_what_the_topics_hold(
    database_url: str, kafka: Kafka
) -> None:
    await append(database_url, 1, 120)
    await drain(relay_of("deliveries", database_url, kafka))
    await _forget_the_checkpoint(kafka)
    await append(database_url, 121, 30)

    count = await drain(relay_of("deliveries", database_url, kafka))

    assert count == 30
    assert sorted(record.position for record in await published(kafka)) == list(range(1, 151))


async def test_a_rebuilt_checkpoint_chains_partitions_whose_records_had_expired(
    database_url: str, kafka: Kafka
) -> None:
    """So a consumer that is behind sees that something is missing there, and reads it from the log."""
    await append(database_url, 1, 1)
    await drain(relay_of("deliveries", database_url, kafka))
    await _forget_the_checkpoint(kafka)
    await append(database_url, 2, 39)

    await drain(relay_of("deliveries", database_url, kafka))

    first_there: dict[int, int] = {}
    for record in await published(kafka):
        first_there.setdefault(record.partition, record.previous)
    (before,) = [record.partition for record in await published(kafka) if record.position == 1]
    assert len(first_there) > 6
    assert first_there.pop(before) == 0
    assert set(first_there.values()) == {1}


async def test_both_logs_are_published_by_the_same_relay(database_url: str, kafka: Kafka) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        """select append_events('{orders,orders.state}', '{r,r}', '{r,r}', '{r@1/0,r@1/0/state}',
                                array['{"ce_type": "order.paid"}', '{"ce_type": "order.state"}']::jsonb[],
                                array['{"a":1}', null]::bytea[])"""
    )
    await owner.close()

    await drain(relay_of("events", database_url, kafka))

    event, state = sorted(
        await published(kafka, ["orders", "orders.state"]), key=lambda record: record.position
    )
    assert (event.topic, event.value, event.headers["ce_type"]) == ("orders", b'{"a":1}', "order.paid")
    assert (state.topic, state.value, state.position) == ("orders.state", None, 2)
    assert "prev" not in state.headers


async def test_an_older_replica_is_refused(database_url: str, kafka: Kafka) -> None:
    await append(database_url, 1, 10)
    await drain(relay_of("deliveries", database_url, kafka))
    await restore_older(database_url, 5)

    with pytest.raises(InvariantError, match="no such row"):
        await drain(relay_of("deliveries", database_url, kafka))


async def test_another_log_that_has_grown_past_the_checkpoint_is_refused(
    database_url: str, kafka: Kafka
) -> None:
    await append(database_url, 1, 10)
    await drain(relay_of("deliveries", database_url, kafka))
    await restore_older(database_url, 5)
    await append(database_url, 900, 30)

    with pytest.raises(InvariantError, match="another row there"):
        await drain(relay_of("deliveries", database_url, kafka))


async def test_a_standby_waits_for_the_lock_and_takes_over(database_url: str, kafka: Kafka) -> None:
    first, second = (relay_of("deliveries", database_url, kafka) for _ in range(2))
    stopping = asyncio.Event()
    async with first.lead(stopping) as leadership:
        assert leadership is not None
        standby = asyncio.create_task(drain(second))
        await append(database_url, 1, 5)
        await leadership.run_once()
        assert not standby.done()
        assert not second.leading
        await append(database_url, 6, 5)

    await standby

    assert sorted(record.position for record in await published(kafka)) == list(range(1, 11))


async def _forget_the_checkpoint(kafka: Kafka) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    await producer.send_and_wait(
        kafka.prefix + topics.CHECKPOINT, key=b"main/deliveries", value=None, partition=0
    )
    await producer.stop()
