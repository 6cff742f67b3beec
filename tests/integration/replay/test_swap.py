"""A swap takes everything over or nothing, and whoever reads or folds goes on with what is live now."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from projections.facts import Reading
from service.errors import InvariantError, PermanentError, TransientError
from service.postgres import connect
from service.readmodels.store import TABLES
from service.replay import holding
from service.replay import swap as swapping
from service.replay.compare import approach, compare_all
from service.replay.holding import positions_held
from service.replay.rebuild import build
from tests.deliveries import admin_payment
from tests.projectors import states
from tests.replays import LiveFold, append, compared, fold_live, lives, rebuilding, swapped, verified
from tests.servers import eventually

OTHER = Reading(payer_key=b"another key, so another fold")


async def test_equal_states_change_places_under_the_same_generation(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(600))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    before = await states(owner)
    since = await owner.fetch("select position, quarantined_at from quarantine order by 1")
    places = "select partition, position, kafka_offset from projector_position order by 1"
    positions = await owner.fetch(places)

    done = await swapped(database_url, tmp_path)

    assert (done.generation, done.raised, done.amendments) == (1, False, 0)
    assert await states(owner) == before
    assert await owner.fetch("select position, quarantined_at from quarantine order by 1") == since
    assert await owner.fetch(places) == positions
    assert await owner.fetchval("select count(*) from generation where number = 1") == 2
    await owner.close()


async def test_nothing_live_loses_a_right_an_index_or_a_comment(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(300))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("alter table order_state set (fillfactor = 80)")
    await owner.execute("alter table cart_state set (autovacuum_enabled = false)")
    before = await _forms(owner)

    await swapped(database_url, tmp_path)
    await swapped(database_url, tmp_path)

    assert await _forms(owner) == before
    await owner.close()


async def test_a_new_fold_takes_over_and_the_old_one_folds_nothing(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(600))
    await fold_live(database_url)

    done = await swapped(database_url, tmp_path, reading=OTHER)
    await append(database_url, lives(700)[600:])

    assert (done.generation, done.raised) == (2, True)
    with pytest.raises(InvariantError, match="rebuild, then swap"):
        await fold_live(database_url)
    await fold_live(database_url, reading=OTHER)
    assert (await compared(database_url, tmp_path, reading=OTHER)).equal
    owner = await asyncpg.connect(database_url)
    await owner.execute("drop schema recibo_shadow cascade")
    newest = await owner.fetchval(
        "select event_id from event_log where topic = 'orders.state' order by position desc"
    )
    await owner.close()
    assert "@0002." in newest
    assert (await verified(database_url, tmp_path, reading=OTHER)).holds


async def test_a_connection_that_was_open_reads_what_is_live_now(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(300))
    await fold_live(database_url)
    service = await connect(database_url, application="test")
    statement = await service.prepare("select count(*) from order_state where payer_email is not null")
    assert await statement.fetchval() == 0

    await swapped(database_url, tmp_path, reading=OTHER)

    assert await statement.fetchval() > 0
    await service.close()


async def test_views_read_what_is_live_now(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(300))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("create schema theirs")
    await owner.execute(
        """create view theirs.payers as
           select root, payer_email from public.order_state o where payer_email is not null"""
    )
    await owner.execute("create view theirs.of_view as select count(*) as count from theirs.payers")

    await swapped(database_url, tmp_path, reading=OTHER)

    assert await owner.fetchval("select count from theirs.of_view") > 0
    bound_to_the_old = """
        select count(*)
        from pg_depend d
        join pg_class t on t.oid = d.refobjid
        where t.relnamespace = 'recibo_previous'::regnamespace and d.classid = 'pg_rewrite'::regclass"""
    assert await owner.fetchval(bound_to_the_old) == 0
    await owner.close()


async def test_a_view_keeps_its_options(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "create view careful with (security_barrier, security_invoker = true) as select root from order_state"
    )
    options = "select reloptions from pg_class where relname = 'careful'"
    before = await owner.fetchval(options)

    await swapped(database_url, tmp_path)

    assert await owner.fetchval(options) == before
    assert len(before) == 2
    await owner.close()


async def test_a_materialized_view_that_would_read_what_was_keeps_the_swap_out(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("create materialized view frozen as select root from order_state")
    before = await states(owner)

    with pytest.raises(PermanentError, match=r"would lose materialized view frozen: drop or undo that"):
        await swapped(database_url, tmp_path, reading=OTHER)

    assert await states(owner) == before
    await owner.close()


async def test_a_root_that_stays_parked_is_so_since_it_was(database_url: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("alter table order_state add constraint unlucky check (status <> 'paid')")
    await append(database_url, [admin_payment("pay_1", "APPROVED", "2025-11-03T13:00:00Z")])
    await fold_live(database_url)
    await owner.execute("update parked_root set parked_at = '2025-11-03T13:00:01Z'")
    parked = await owner.fetch("select * from parked_root")

    await swapped(database_url, tmp_path)

    assert await owner.fetch("select * from parked_root") == parked
    assert len(parked) == 1
    await owner.close()


async def test_a_swap_waits_for_the_states_before_the_last_one_to_be_dropped(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    await swapped(database_url, tmp_path)

    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
        with pytest.raises(PermanentError, match="drop-previous"):
            await swapping.swap(site, publish_amendments=False)


async def test_a_long_query_keeps_the_swap_out_and_nothing_changes(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_LOCK_TIMEOUT_MS", 100)
    monkeypatch.setattr(holding, "_RETRY_AFTER_S", 0.01)
    await append(database_url, lives(200))
    await fold_live(database_url)
    reader = await asyncpg.connect(database_url)
    owner = await asyncpg.connect(database_url)
    before = await states(owner)

    async with rebuilding(database_url, tmp_path, reading=OTHER) as (site, options):
        await build(site, options)
        async with reader.transaction():
            await reader.fetchval("select count(*) from cart_state")
            with pytest.raises(TransientError, match="long queries"):
                await swapping.swap(site, publish_amendments=True)
            assert await states(owner) == before
            assert await owner.fetchval("select max(number) from generation") == 1
            await append(database_url, lives(250)[200:])
            await LiveFold(owner, Reading()).up_to(250)
        done = await swapping.swap(site, publish_amendments=True)

    assert done.generation == 2
    assert done.amendments > 0
    await owner.execute("drop schema recibo_previous cascade")
    assert (await compared(database_url, tmp_path, reading=OTHER)).equal
    await owner.close()
    await reader.close()


async def test_the_projector_waits_for_the_swap_and_then_takes_the_new_generation(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, [admin_payment("pay_1", "PENDING", "2025-11-03T13:00:00Z")])
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("update order_state set method = 'changed by hand'")
    connection = await connect(database_url, application="test")
    live = LiveFold(connection, Reading())
    await live.up_to(1)
    await append(database_url, [admin_payment("pay_1", "APPROVED", "2025-11-03T13:01:00Z")])

    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
        await approach(site)
        await compare_all(site)
        async with positions_held(site.owner, site.positions) as hold:
            await swapping._swap(site, hold, publish_amendments=False)
            folding = asyncio.create_task(live.up_to(2))
            await _until_waiting(owner)
    await folding

    ids = [row["event_id"] for row in await owner.fetch("select event_id from event_log order by position")]
    assert ids[-1] == "shop:order:pay_1@0002.0000000002/0/state"
    assert await owner.fetchval("select facts from order_state") == 2
    await connection.close()
    await owner.close()


async def _until_waiting(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    async def waiting() -> bool:
        count: int = await owner.fetchval(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ 'for update'"
        )
        return count > 0

    await eventually(waiting, what="the projector waits for the position rows")


async def _forms(owner: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[object, ...]]:
    """All that a table is, besides its rows."""
    rows = await owner.fetch(
        """select c.relname, c.relkind::text, c.reloptions, c.relacl::text, obj_description(c.oid) as comment,
                  (select array_agg(row(a.attname, a.atttypid::regtype, a.attnotnull, a.attstattarget,
                                        col_description(c.oid, a.attnum))::text order by a.attnum)
                   from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
           from pg_class c
           where c.relnamespace = 'public'::regnamespace
             and (c.relname = any($1) or c.oid in (
                 select indexrelid from pg_index where indrelid = any($1::text[]::regclass[])))
           order by 1""",
        list(TABLES),
    )
    return [tuple(row) for row in rows]
