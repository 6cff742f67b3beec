"""Appending deliveries: exact bytes, refused data, partitions made ahead."""

from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import pytest
import structlog

from service.errors import InvariantError, OutcomeUnknownError, TransientError
from service.eventlog.deliveries import DeliveryLog, append_batch, append_setting_aside
from service.postgres import connect, pool
from tests.deliveries import new_delivery
from tests.poison import EVERY_ROW, HEAD_BEHIND, MARK, POISON

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


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
    [
        {"root": "shop:order:\x00"},
        {"headers": '{"a": "\\u0000"}'},
        {"root": "shop:order:\ud800"},
        {"remote_ip": "fe80::1%\x00"},
    ],
    ids=["a NUL in the root", "a NUL in a header", "a lone surrogate", "a NUL in an address"],
)
async def test_a_row_of_which_postgres_refuses_a_value_is_set_aside_alone(
    database_url: str, columns: dict[str, str]
) -> None:
    rows = [new_delivery(b"%d" % n, root=f"shop:order:{n}") for n in range(7)]
    rows[4] = new_delivery(b"the culprit", kind="withdraw", **columns)
    async with pool(database_url, application="test", size_max=1) as opened:
        appended = await DeliveryLog(opened, timeout_s=5).append(rows)

        stored = await opened.fetch("select position, root, body from delivery_log order by position")
        refused = await opened.fetch("select * from refused_delivery")

    neighbours = [row for row in rows if row is not rows[4]]
    assert [(row["position"], row["body"]) for row in stored] == [
        (position, row.body) for position, row in enumerate(neighbours, start=1)
    ]
    assert appended.refused == {4}
    assert list(appended.positions) == [1, 2, 3, 4, refused[0]["number"], 5, 6]
    assert [(row["body"], row["body_sha256"], row["kind"], row["sqlstate"][:2]) for row in refused] == [
        (b"the culprit", rows[4].body_sha256, "withdraw", "22")
    ]


@pytest.mark.parametrize("sqlstate", ["22P02", "54000"])
async def test_many_refused_rows_leave_their_neighbours_dense(
    database_url: str, owner: Connection, sqlstate: str
) -> None:
    await owner.execute(POISON.format(sqlstate=sqlstate))
    rows = [new_delivery(MARK if n % 3 == 0 else b"%d" % n) for n in range(40)]
    async with pool(database_url, application="test", size_max=1) as opened:
        with structlog.testing.capture_logs() as lines:
            appended = await DeliveryLog(opened, timeout_s=30).append(rows)

    stored = await owner.fetch("select position, body from delivery_log order by position")
    numbers = [row["number"] for row in await owner.fetch("select number from refused_delivery order by 1")]
    assert [row["position"] for row in stored] == list(range(1, 27))
    assert appended.refused == frozenset(range(0, 40, 3))
    assert [appended.positions[index] for index in sorted(appended.refused)] == numbers
    assert {row["position"]: row["body"] for row in stored} == {
        appended.positions[index]: row.body for index, row in enumerate(rows) if index not in appended.refused
    }
    assert [line["number"] for line in lines if line["event"] == "log.delivery_refused"] == numbers


@pytest.mark.parametrize(
    ("table", "sqlstate"),
    [("delivery_log", "54000"), ("delivery_log", "22P02"), ("refused_delivery", "22P02")],
)
async def test_a_log_that_takes_no_row_at_all_is_an_outage_and_holds_nothing_of_the_batch(
    database_url: str, owner: Connection, table: str, sqlstate: str
) -> None:
    if table == "refused_delivery":
        await owner.execute(POISON.format(sqlstate=sqlstate).replace("poison()", "poison_log()"))
    await owner.execute(EVERY_ROW.format(table=table, sqlstate=sqlstate))
    async with pool(database_url, application="test", size_max=1) as opened:
        with pytest.raises(TransientError, match=f"{sqlstate}.*cannot set it aside") as raised:
            await DeliveryLog(opened, timeout_s=30).append([new_delivery(b"good"), new_delivery(MARK)] * 4)

    assert not isinstance(raised.value, OutcomeUnknownError)
    assert await owner.fetchval("select count(*) from delivery_log") == 0
    assert await owner.fetchval("select count(*) from refused_delivery") == 0


async def test_a_head_row_behind_its_table_is_an_outage_that_says_what_to_compare(
    database_url: str, owner: Connection
) -> None:
    async with pool(database_url, application="test", size_max=1) as opened:
        log = DeliveryLog(opened, timeout_s=5)
        await log.append([new_delivery(b"one")])
        await owner.execute(HEAD_BEHIND)

        with pytest.raises(TransientError, match=r"23505.*max\(position\)") as raised:
            await log.append([new_delivery(b"two"), new_delivery(b"three")])

    assert not isinstance(raised.value, OutcomeUnknownError)
    assert await owner.fetchval("select count(*) from delivery_log") == 1


async def test_a_head_row_behind_its_table_stops_whoever_may_not_go_on(
    database_url: str, owner: Connection
) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery()])
    await owner.execute(HEAD_BEHIND)

    with pytest.raises(InvariantError, match="23505"):
        async with connection.transaction():
            await append_setting_aside(connection, [new_delivery(), new_delivery()])

    await connection.close()


@pytest.mark.parametrize(
    "change", ["update refused_delivery set sqlstate = ''", "delete from refused_delivery"]
)
async def test_what_was_set_aside_stays_as_it_is_even_for_the_owner(
    database_url: str, owner: Connection, change: str
) -> None:
    async with pool(database_url, application="test", size_max=1) as opened:
        await DeliveryLog(opened, timeout_s=5).append([new_delivery(root="\x00")])

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute(change)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await owner.execute("truncate refused_delivery")


async def test_partitions_are_made_ahead_by_the_service(database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("update log_head set partition_rows = 100, last_position = 29999699")
    service = await connect(database_url, application="service")

    made = await service.fetchval("select ensure_partitions('deliveries', 5)")
    again = await service.fetchval("select ensure_partitions('deliveries', 5)")
    await append_batch(service, [new_delivery()] * 450)

    partitions = await service.fetch("select distinct tableoid::regclass::text as name from delivery_log")
    await owner.close()
    await service.close()
    assert made == 2
    assert again == 0
    assert len(partitions) == 3
    assert "delivery_log_default" not in {row["name"] for row in partitions}
