"""Appending deliveries: exact bytes, refused data, partitions made ahead."""

import asyncpg
import pytest

from service.eventlog.deliveries import DeliveryLog, append_batch
from service.postgres import connect, pool
from tests.deliveries import new_delivery


async def test_every_byte_comes_back(database_url: str) -> None:
    body = bytes(range(256)) * 64
    async with pool(database_url, application="test", size_max=1) as opened:
        appended = await DeliveryLog(opened, timeout_s=5).append([new_delivery(body)])

        stored = await opened.fetchval(
            "select body from delivery_log where position = $1", appended.positions[0]
        )

    assert stored == body


@pytest.mark.parametrize(
    "columns",
    [{"root": "shop:order:\x00"}, {"headers": '{"a": "\\u0000"}'}, {"root": "shop:order:\ud800"}],
    ids=["a NUL in the root", "a NUL in a header", "a lone surrogate"],
)
async def test_a_datum_that_postgres_refuses_costs_only_its_own_root_and_headers(
    database_url: str, columns: dict[str, str]
) -> None:
    rows = [new_delivery(b"%d" % n, root=f"shop:order:{n}") for n in range(7)]
    rows[4] = new_delivery(b"the culprit", **columns)
    async with pool(database_url, application="test", size_max=1) as opened:
        appended = await DeliveryLog(opened, timeout_s=5).append(rows)

        stored = await opened.fetch("select root, body from delivery_log order by position")

    assert list(appended.positions) == [1, 2, 3, 4, 5, 6, 7]
    assert appended.stripped == {4}
    assert [row["body"] for row in stored] == [row.body for row in rows]
    assert [row["root"] for row in stored if row["body"] != b"the culprit"] == [
        f"shop:order:{n}" for n in (0, 1, 2, 3, 5, 6)
    ]
    assert stored[4]["root"] is None


async def test_partitions_are_made_ahead_by_the_service(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("update log_head set partition_rows = 100, last_position = 29999999")
    service = await connect(database_url, application="service")

    made = await service.fetchval("select ensure_partitions('deliveries', 3)")
    again = await service.fetchval("select ensure_partitions('deliveries', 3)")
    await append_batch(service, [new_delivery()] * 150)

    partitions = await service.fetch("select distinct tableoid::regclass::text as name from delivery_log")
    await owner.close()
    await service.close()
    assert made == 3
    assert again == 0
    assert len(partitions) == 3
    assert "delivery_log_default" not in {row["name"] for row in partitions}


async def test_ranges_resume_after_rows_that_fell_into_the_default_partition(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("update log_head set partition_rows = 100, last_position = 30000000")
    await append_batch(owner, [new_delivery()] * 50)
    assert await owner.fetchval("select count(*) from delivery_log_default") == 50

    await owner.fetchval("select ensure_partitions('deliveries', 2)")
    await append_batch(owner, [new_delivery()] * 50)

    positions = [row["position"] for row in await owner.fetch("select position from delivery_log order by 1")]
    strays = await owner.fetchval("select count(*) from delivery_log_default")
    await owner.close()
    assert positions == list(range(30000001, 30000101))
    assert strays == 50
