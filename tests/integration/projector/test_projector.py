"""The projector folds what the relay published, whatever Kafka lost or repeated on the way."""

import dataclasses

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from projections.facts import Reading
from service import telemetry
from service.errors import InvariantError
from service.eventlog.deliveries import NewDelivery, append_batch
from service.kafka import topics
from service.kafka.partitioner import partition_of
from service.postgres import connect
from service.projector.projector import Projector
from service.readmodels.positions import OutrunError, Place, Positions
from tests.deliveries import admin_payment, new_delivery
from tests.projectors import SETTINGS, fold_up_to, projector_of, receive, states
from tests.relays import drain, relay_of
from tests.servers import Kafka, restore_older


def payments(count: int) -> list[NewDelivery]:
    return [
        admin_payment(f"pay_{number}", status, f"2025-11-03T13:0{minute}:00Z")
        for minute, status in enumerate(("PENDING", "APPROVED", "REFUNDED"))
        for number in range(count)
    ]


async def test_states_events_and_positions_appear_together(database_url: str, kafka: Kafka) -> None:
    end = await receive(database_url, kafka, payments(30))

    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)

    owner = await asyncpg.connect(database_url)
    orders = await owner.fetch("select status, facts, amount_cents from order_state")
    types = await owner.fetch(
        """select headers ->> 'ce_type' as type, count(*) from event_log
           where topic = 'orders' group by 1 order by 1"""
    )
    records = await owner.fetchval("select count(*) from event_log where topic = 'orders.state'")
    await owner.close()
    assert [tuple(row) for row in orders] == [("refunded", 3, 15990)] * 30
    assert [tuple(row) for row in types] == [
        ("order.paid", 30),
        ("order.pending", 30),
        ("order.refunded", 30),
    ]
    assert records == 90


async def test_what_cannot_be_read_is_quarantined_with_the_reason_and_published(
    database_url: str, kafka: Kafka
) -> None:
    rows = [admin_payment("pay_1", "APPROVED"), admin_payment("pay_1", "SOMETHING_NEW"), new_delivery(b"[1]")]

    end = await receive(database_url, kafka, rows)
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)

    owner = await asyncpg.connect(database_url)
    kept = await owner.fetch("select position, root, reason from quarantine order by position")
    told = await owner.fetch(
        "select key, event_id, value from event_log where topic = 'webhooks.quarantine' order by position"
    )
    await owner.close()
    assert [row["position"] for row in kept] == [2, 3]
    assert kept[0]["root"] == "shop:order:pay_1"
    assert "status" in kept[0]["reason"]
    assert sorted(row["event_id"] for row in told) == ["main-2/quarantined", "main-3/quarantined"]
    assert all(b"SOMETHING" not in row["value"] or b"reason" in row["value"] for row in told)


async def test_records_that_expired_unread_are_filled_from_the_log(database_url: str, kafka: Kafka) -> None:
    await receive(database_url, kafka, payments(20))
    await _expire(kafka)
    end = await receive(database_url, kafka, [admin_payment(f"pay_{n}", "CHARGEBACK") for n in range(20)])

    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)

    owner = await asyncpg.connect(database_url)
    facts = await owner.fetch("select facts from order_state")
    await owner.close()
    assert [row["facts"] for row in facts] == [4] * 20


async def test_a_gap_at_a_quiet_tail_is_filled_from_the_log(database_url: str, kafka: Kafka) -> None:
    end = await receive(database_url, kafka, payments(20))
    owner = await asyncpg.connect(database_url)
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
    expected = await states(owner)
    await _forget_everything(owner)

    # The hint points behind the last record: Kafka has nothing to give any more.
    await owner.execute("update projector_position set position = 0, kafka_offset = 1000000")
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)

    assert await states(owner) == expected
    await owner.close()


async def test_behind_a_backlog_no_partition_counts_as_quiet(database_url: str, kafka: Kafka) -> None:
    end = await receive(database_url, kafka, payments(200))
    filled = telemetry.PROJECTOR_GAP_ROWS._value.get()

    impatient = dataclasses.replace(SETTINGS, quiet_after_s=0.0)
    async with projector_of(database_url, kafka, settings=impatient) as projector:
        await fold_up_to(projector, end)

    assert telemetry.PROJECTOR_GAP_ROWS._value.get() == filled


async def test_another_version_of_the_fold_folds_nothing_and_says_what_to_do(
    database_url: str, kafka: Kafka
) -> None:
    end = await receive(database_url, kafka, payments(3))
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)

    async with projector_of(database_url, kafka, reading=Reading(payer_key=b"another setting")) as projector:
        with pytest.raises(InvariantError, match="rebuild, then swap"):
            await fold_up_to(projector, end)


async def test_an_older_replica_is_refused_before_anything_is_folded(database_url: str, kafka: Kafka) -> None:
    await receive(database_url, kafka, payments(10))
    await restore_older(database_url, 5)

    with pytest.raises(InvariantError, match="deliveries up to position 30, but this database has no such"):
        await one_pass(database_url, kafka)

    assert await folded(database_url) == 0


async def test_an_older_replica_that_has_grown_past_the_checkpoint_is_refused(
    database_url: str, kafka: Kafka
) -> None:
    await receive(database_url, kafka, payments(10))
    await restore_older(database_url, 5)
    connection = await connect(database_url, application="test")
    await append_batch(connection, payments(20))
    await connection.close()

    with pytest.raises(InvariantError, match="another row there"):
        await one_pass(database_url, kafka)

    assert await folded(database_url) == 0


async def test_a_database_that_is_exchanged_for_an_older_one_is_refused_once_it_is_quiet(
    database_url: str, kafka: Kafka
) -> None:
    end = await receive(database_url, kafka, payments(10))

    async with projector_of(database_url, kafka) as projector, projector.joined() as consumer:
        while not all(at in projector.places and projector.places[at].position >= end[at] for at in end):
            await projector.run_once(consumer)
        await restore_older(database_url, 5)
        with pytest.raises(InvariantError, match="no such row"):
            await for_ever(projector, consumer)


async def test_an_older_event_log_is_refused(database_url: str, kafka: Kafka) -> None:
    end = await receive(database_url, kafka, payments(10))
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
    await drain(relay_of("events", database_url, kafka))
    owner = await asyncpg.connect(database_url)
    await owner.execute("set session_replication_role = replica")
    await owner.execute("delete from event_log where position > 20")
    await owner.close()

    with pytest.raises(InvariantError, match="Kafka has events up to"):
        await one_pass(database_url, kafka)


async def for_ever(projector: Projector, consumer: AIOKafkaConsumer) -> None:
    while True:
        await projector.run_once(consumer)


async def one_pass(database_url: str, kafka: Kafka) -> None:
    """Up to the first pass in which the projector has partitions."""
    async with projector_of(database_url, kafka) as projector, projector.joined() as consumer:
        while not projector.places:
            await projector.run_once(consumer)


async def folded(database_url: str) -> int:
    owner = await asyncpg.connect(database_url)
    count: int = await owner.fetchval("select count(*) from timeline")
    await owner.close()
    return count


async def test_a_zombie_loses_the_comparison(database_url: str, kafka: Kafka) -> None:
    connection = await connect(database_url, application="test")
    positions = Positions(log="main", fold_version="1")
    await positions.places(connection, [0])
    await connection.execute("update projector_position set position = 7")

    with pytest.raises(OutrunError):
        async with connection.transaction():
            await positions.lock(connection, {0: Place(position=3, kafka_offset=1)})

    await connection.close()


async def test_a_root_whose_rows_postgres_refuses_is_parked_and_the_rest_flows(
    database_url: str, kafka: Kafka
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("alter table order_state add constraint unlucky check (root <> 'shop:order:pay_3')")
    end = await receive(database_url, kafka, payments(8))

    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)

    parked = await owner.fetch("select root, partition, positions, reason from parked_root")
    folded = await owner.fetchval("select count(*) from order_state where status = 'refunded'")
    events = await owner.fetchval("select count(*) from event_log where partition_key = 'shop:order:pay_3'")
    await owner.close()
    assert [(row["root"], row["partition"], sorted(row["positions"])) for row in parked] == [
        ("shop:order:pay_3", partition_of("shop:order:pay_3"), [4, 12, 20])
    ]
    assert "23514" in parked[0]["reason"]
    assert folded == 7
    assert events == 0


async def _expire(kafka: Kafka) -> None:
    """Delete every record that `webhooks.raw` holds, as retention does."""
    topic = kafka.prefix + topics.RAW
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.delete_records(
        {TopicPartition(topic, partition): RecordsToDelete(before_offset=-1) for partition in range(12)}
    )
    await admin.close()


async def _forget_everything(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await owner.execute("truncate timeline, order_state, dispute_state")
