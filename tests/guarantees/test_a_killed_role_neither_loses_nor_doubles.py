"""Promises 1, 3 and 5 under SIGKILL at the worst points, with real processes."""

from pathlib import Path

import asyncpg
import pytest

from service.eventlog.deliveries import NewDelivery, append_batch
from service.kafka import topics
from service.postgres import connect
from tests.deliveries import admin_payment
from tests.guarantees.test_relays_settle import assert_each_once_in_order
from tests.projectors import ends, states
from tests.relays import drain, published, relay_of
from tests.roles import role
from tests.servers import Kafka, eventually

WORDS = ("PENDING", "APPROVED", "IN_DISPUTE", "APPROVED", "REFUNDED")


def payments(count: int) -> list[NewDelivery]:
    return [
        admin_payment(f"pay_{number}", word, f"2025-11-03T13:0{minute}:00Z")
        for minute, word in enumerate(WORDS)
        for number in range(count)
    ]


@pytest.mark.parametrize("point", ["relay.sent@2", "relay.checkpointed@2", "relay.committed@2"])
async def test_a_relay_killed_there_publishes_each_row_once(
    database_url: str, kafka: Kafka, tmp_path: Path, point: str
) -> None:
    writer = await connect(database_url, application="writer")
    await append_batch(writer, payments(40))
    config = "[sources.shop]\nprovider = 'admin'\nchecks = 'none'\n[relay]\nrows_max = 50\n"

    async with role("relay", database_url, kafka, tmp_path, crashpoint=point, config=config) as relay:
        await relay.killed()
    await drain(relay_of("deliveries", database_url, kafka))

    await writer.close()
    assert_each_once_in_order(await published(kafka), 200)


@pytest.mark.parametrize("point", ["projector.written@2", "projector.committed@2"])
async def test_a_projector_killed_there_changes_nothing_twice(
    database_url: str, kafka: Kafka, tmp_path: Path, point: str
) -> None:
    writer = await connect(database_url, application="writer")
    await append_batch(writer, payments(40))
    await drain(relay_of("deliveries", database_url, kafka))
    config = "[sources.shop]\nprovider = 'admin'\nchecks = 'none'\n[projector]\nbatch_rows_max = 20\n"

    async with role("projector", database_url, kafka, tmp_path, crashpoint=point, config=config) as projector:
        await projector.killed()
    async with role("projector", database_url, kafka, tmp_path):
        await _folded(database_url)

    owner = await asyncpg.connect(database_url)
    ids = [row["event_id"] for row in await owner.fetch("select event_id from event_log order by position")]
    expected = [
        f"shop:order:pay_{number}@0001.{version:010}/0" for number in range(40) for version in range(1, 6)
    ]
    assert sorted(one for one in ids if one.endswith("/0")) == sorted(expected)
    assert len(ids) == len(set(ids))
    found = await states(owner)
    assert len(found["order_state"]) == 40
    assert len(found["dispute_state"]) == 40
    await owner.close()
    await writer.close()


async def test_an_event_relay_killed_at_its_worst_point_publishes_each_event_once(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    writer = await connect(database_url, application="writer")
    await append_batch(writer, payments(30))
    await drain(relay_of("deliveries", database_url, kafka))
    async with role("projector", database_url, kafka, tmp_path):
        await _folded(database_url)
    config = "[sources.shop]\nprovider = 'admin'\nchecks = 'none'\n[relay]\nrows_max = 60\n"

    async with role(
        "relay", database_url, kafka, tmp_path, crashpoint="relay.sent@3", config=config
    ) as relay:
        await relay.killed()
    await drain(relay_of("events", database_url, kafka))

    owner = await asyncpg.connect(database_url)
    written = [
        (row["position"], row["event_id"])
        for row in await owner.fetch("select position, event_id from event_log order by position")
    ]
    await owner.close()
    await writer.close()
    records = await published(kafka, topics.EVENT_TOPICS)
    assert sorted((record.position, record.headers["ce_id"]) for record in records) == written
    by_root: dict[str, list[int]] = {}
    for record in records:
        if record.topic == "orders":
            by_root.setdefault(record.key, []).append(record.position)
    assert all(positions == sorted(positions) for positions in by_root.values())


async def _folded(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    end = await ends(connection)

    async def everything_is_folded() -> bool:
        rows = await connection.fetch("select partition, position from projector_position")
        places = {row["partition"]: row["position"] for row in rows}
        return all(places.get(partition, 0) >= position for partition, position in end.items())

    await eventually(everything_is_folded, what="every partition is folded")
    await connection.close()
