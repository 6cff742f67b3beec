"""Analysts read plain names in SQL, every column explained, and can change nothing; a swap does not show."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from projections.facts import Reading
from service.readmodels.store import TABLES
from tests.replays import append, fold_live, lives, swapped

VIEWS = ("orders", "disputes", "subscriptions", "withdrawals", "carts", "quarantined", "deliveries")


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    await append(database_url, lives(900))
    await fold_live(database_url)
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_every_column_of_views_and_tables_is_explained(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    tables = [*TABLES, "generation", "projector_position", "delivery_log", "event_log", "cart_recovery"]

    silent = await owner.fetch(
        """select c.oid::regclass::text || '.' || a.attname
           from pg_class c
           join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
           where (c.relnamespace = 'analyst'::regnamespace and c.relkind = 'v'
                  or c.oid = any($1::text[]::regclass[]))
             and (col_description(c.oid, a.attnum) is null or obj_description(c.oid, 'pg_class') is null)""",
        tables,
    )

    assert [row[0] for row in silent] == []


@pytest.mark.parametrize("view", VIEWS)
async def test_an_analyst_reads_the_views(owner: "asyncpg.Connection[asyncpg.Record]", view: str) -> None:
    await owner.execute("set role recibo_analyst")

    assert await owner.fetchval(f"select count(*) from analyst.{view}") > 0


@pytest.mark.parametrize(
    "statement",
    [
        "select body from delivery_log",
        "select * from order_state",
        "select document from timeline",
        "delete from analyst.orders",
        "update analyst.orders set status = 'paid'",
        "create table analyst.mine (x int)",
    ],
)
async def test_an_analyst_reads_nothing_else_and_changes_nothing(
    owner: "asyncpg.Connection[asyncpg.Record]", statement: str
) -> None:
    await owner.execute("set role recibo_analyst")

    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute(statement)


async def test_instants_stand_beside_their_nanoseconds(
    owner: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    rows = await owner.fetch(
        """select began_at, began_at_ns, changed_at, changed_at_ns from analyst.orders
           union all select began_at, began_at_ns, began_at, began_at_ns from analyst.order_statuses
           union all select opened_at, opened_at_ns, opened_at, opened_at_ns from analyst.disputes"""
    )

    assert len(rows) > 400
    for row in rows:
        for instant, nanoseconds in ((row[0], row[1]), (row[2], row[3])):
            assert instant.timestamp() * 1_000_000 == pytest.approx(nanoseconds // 1_000, abs=0.5)


async def test_a_swap_does_not_show(
    owner: "asyncpg.Connection[asyncpg.Record]", database_url: str, tmp_path: Path
) -> None:
    other = Reading(payer_key=b"another key, so another fold")
    count = "select count(*), count(payer_email) from analyst.orders"
    before = await owner.fetchrow(count)

    await swapped(database_url, tmp_path, reading=other)
    # Without cascade beyond its own tables: no view may be bound to what was live before.
    await owner.execute("drop table recibo_previous.order_state")

    await owner.execute("set role recibo_analyst")
    after = await owner.fetchrow(count)
    assert before is not None
    assert after is not None
    assert after[0] == before[0]
    assert before[1] == 0 < after[1]
    for view in VIEWS:
        assert await owner.fetchval(f"select count(*) from analyst.{view}") > 0
