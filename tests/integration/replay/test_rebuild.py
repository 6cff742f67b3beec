"""A rebuild gives what is live, whatever the live side does meanwhile, and tells when it does not."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from projections.facts import Reading
from projections.fold import states_of
from projections.providers import root_of
from projections.states import States
from projections.timeline import Timeline
from service.declarations import Secret
from service.errors import InvariantError, PermanentError, TransientError
from service.kafka.partitioner import partition_of
from service.postgres import connect
from service.replay import compare as comparing
from service.replay import spill
from service.replay.rebuild import build
from service.replay.site import Site
from tests.bodies import document
from tests.deliveries import admin_payment, new_delivery
from tests.projectors import ends, retry_of, states
from tests.replays import (
    LiveFold,
    append,
    compared,
    fold_live,
    lives,
    rebuilding,
    swapped,
    verified,
)

OTHER = Reading(payer_key=b"another key, so another fold")


async def test_every_root_of_all_providers_is_equal_byte_for_byte(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(3_000))
    await fold_live(database_url)

    found = await compared(database_url, tmp_path)

    assert found.equal
    assert not found.states_differ
    assert found.roots > 800
    assert not files_in(tmp_path)


async def test_two_processes_give_the_same(database_url: str, tmp_path: Path) -> None:
    reading = Reading(payer_key=Secret(b"a key as the settings hold it"))
    await append(database_url, lives(2_000))
    await fold_live(database_url, reading=reading)

    async with rebuilding(database_url, tmp_path, reading=reading, processes=2) as (site, options):
        await build(site, options)
        found = await comparing.compare(site, listed_max=10)

    assert found.equal
    assert site.counts["rows"] == 2_000


async def test_one_body_sent_again_and_again_says_what_each_row_makes_of_it(
    database_url: str, tmp_path: Path
) -> None:
    undated: dict[str, Any] = {"updated_at": None, "created_at": None}
    payment = admin_payment("pay_1", "APPROVED", **undated)
    withdrawal = replace(payment, kind="withdraw", root="shop:withdrawal:pay_1")
    unreadable = admin_payment("pay_1", "SOMETHING ELSE")
    await append(database_url, [payment, unreadable, withdrawal, payment, withdrawal, unreadable, payment])
    await fold_live(database_url)

    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
        found = await comparing.compare(site, listed_max=10)

    assert found.equal
    assert found.roots == 2
    assert (site.counts["facts"], site.counts["quarantined"]) == (5, 2)


async def test_a_row_above_its_partitions_position_is_not_folded(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(1_500))
    connection = await asyncpg.connect(database_url)
    live = LiveFold(connection, Reading())
    await live.up_to(400)
    await live.up_to(900, partitions=[1, 4, 7])
    await live.up_to(1_500, partitions=[2])

    behind = await compared(database_url, tmp_path)
    async with rebuilding(database_url, tmp_path) as (site, options):
        await live.up_to(1_200, partitions=[0, 1])
        await build(site, options)
        moved = await comparing.compare(site, listed_max=10)
        await live.up_to(1_500)
        level = await comparing.compare(site, listed_max=10)

    await connection.close()
    assert behind.equal
    assert moved.equal
    assert level.equal
    assert level.roots > moved.roots > behind.roots


async def test_what_differs_is_listed_with_both_states_and_the_delivery_that_parts_them(
    database_url: str, tmp_path: Path
) -> None:
    words = ("PENDING", "APPROVED", "REFUNDED")
    rows = [
        admin_payment(f"pay_{number}", word, f"2025-11-03T13:0{minute}:00Z")
        for minute, word in enumerate(words)
        for number in range(5)
    ]
    await append(database_url, rows)
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("delete from order_state where root = 'shop:order:pay_1'")
    await owner.execute(
        """update order_state set status = 'paid', history = history - 2 where root = 'shop:order:pay_2'"""
    )
    await owner.execute("delete from timeline where root = 'shop:order:pay_3'")
    await owner.execute(
        """insert into dispute_state
           select 'shop:order:pay_4', 1, 'shop', 'x', 'admin', 'open', null, 1, null, null, '[]', 3"""
    )
    await owner.close()

    found = await compared(database_url, tmp_path)

    listed = {one.root: one for one in found.listed}
    assert found.different == 4
    assert found.states_differ
    assert not found.equal
    assert listed["shop:order:pay_1"].live == []
    assert listed["shop:order:pay_1"].rebuilt[0]["status"] == "refunded"
    # The facts are the same; the histories part where it was refunded.
    assert listed["shop:order:pay_2"].parted_at == 13
    # The live side knows none of its facts, so the first delivery parts them.
    assert listed["shop:order:pay_3"].parted_at == 4
    assert len(listed["shop:order:pay_4"].live) == 2


async def test_a_delivery_that_a_repeat_dated_anew_parts_nothing(database_url: str, tmp_path: Path) -> None:
    sent = document("gen", "order_created")
    undated = {name: value for name, value in sent["data"].items() if not name.endswith("_at")}
    # The envelope dates it, which is no part of the object.
    told = ((undated, "2025-11-05"), (undated, "2025-11-03"), (undated | {"total_cents": 7}, "2025-11-06"))
    rows = [
        new_delivery(
            orjson.dumps(sent | {"data": data, "occurred_at": f"{day}T10:00:00Z"}),
            provider="gen",
            root=root_of("gen", "shop", sent, None),
        )
        for data, day in told
    ]
    await append(database_url, rows, batch=1)
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("update order_state set reference = 'by hand'")
    await owner.close()

    (listed,) = (await compared(database_url, tmp_path)).listed

    assert listed.parted_at == 3


async def test_a_root_that_this_codes_fold_fails_on_is_listed_with_the_delivery_that_does_it(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("PENDING", "APPROVED", "REFUNDED", "CHARGEBACK")
    rows = [admin_payment("pay_1", word, f"2025-11-03T13:0{minute}:00Z") for minute, word in enumerate(words)]
    await append(database_url, rows)
    await fold_live(database_url)

    def failing(timeline: Timeline) -> States:
        if len(timeline.entries) >= 3:
            raise KeyError(timeline.root)
        return states_of(timeline)

    monkeypatch.setattr("service.replay.folding.states_of", failing)
    monkeypatch.setattr("service.replay.compare.states_of", failing)
    found = await compared(database_url, tmp_path)

    assert (found.different, found.equal) == (1, False)
    assert found.listed[0].parted_at == 3


async def test_what_other_code_began_is_not_gone_on_with(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)

    monkeypatch.setattr("service.replay.shadow.code", lambda: "of another release")
    with pytest.raises(PermanentError, match=r"begun by other code.*--restart"):
        async with rebuilding(database_url, tmp_path):
            pass
    async with rebuilding(database_url, tmp_path, restart=True) as (site, options):
        await build(site, options)


async def test_what_a_retry_would_mend_is_to_retry_and_not_different(
    database_url: str, tmp_path: Path
) -> None:
    rootless = [
        admin_payment(f"pay_{number}", "APPROVED", "2025-11-03T13:01:00Z", external_id=f"LJ-{number}")
        for number in range(4)
    ]
    rows = [type(row)(**{**_members(row), "root": None}) for row in rootless]
    await append(database_url, [*lives(300), *rows])
    await fold_live(database_url)

    before = await compared(database_url, tmp_path)
    held = await verified_anew(database_url, tmp_path)
    async with retry_of(database_url) as retry:
        await retry.quarantined()
    after = await compared(database_url, tmp_path)

    assert (before.to_retry, before.different, before.states_differ) == (4, 0, True)
    assert held
    assert (after.to_retry, after.different, after.states_differ) == (0, 0, False)
    assert await verified_anew(database_url, tmp_path)


async def test_what_is_quarantined_while_it_compares_is_no_difference(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database_url, lives(400))
    await fold_live(database_url)

    really = comparing.compare_all

    async def compare_all(site: Site) -> None:
        await really(site)
        await append(database_url, [new_delivery(b"[1]"), admin_payment("p1", "A WORD OF TOMORROW")])
        await fold_live(database_url)

    monkeypatch.setattr(comparing, "compare_all", compare_all)
    found = await compared(database_url, tmp_path)

    assert found.equal
    assert (found.to_retry, found.unreadable_now) == (0, [])


async def test_a_root_beyond_its_limits_is_parked_at_the_same_delivery_in_both(
    database_url: str, tmp_path: Path
) -> None:
    limited = Reading(facts_max=40, state_bytes_max=50_000)
    days = [f"2025-11-{3 + n // 24:02}T{n % 24:02}:00:00Z" for n in range(90)]
    many_facts = [admin_payment("hot", ("APPROVED", "IN_DISPUTE")[n % 2], day) for n, day in enumerate(days)]
    long_texts = [
        admin_payment("long", "PENDING"),
        admin_payment("long", "APPROVED", external_id="x" * 50_000),
        admin_payment("long", "REFUNDED", "2025-11-04T13:00:00Z", external_id="x" * 50_000),
    ]
    await append(database_url, [*many_facts, *long_texts, *lives(200)])
    await fold_live(database_url, reading=limited, page=1)

    found = await compared(database_url, tmp_path, reading=limited)

    owner = await asyncpg.connect(database_url)
    live = await owner.fetch("select root, positions from parked_root order by root")
    shadowed = await owner.fetch("select root, positions from recibo_shadow.parked_root order by root")
    facts = await owner.fetchval("select facts from recibo_shadow.order_state where root = 'shop:order:hot'")
    await owner.close()
    assert (found.parked, found.equal) == (2, True)
    assert [(row["root"], min(row["positions"])) for row in live] == [
        ("shop:order:hot", 41),
        ("shop:order:long", 92),
    ]
    assert [tuple(row) for row in shadowed] == [tuple(row) for row in live]
    assert facts == 40


async def test_a_root_that_folds_nowhere_is_parked_in_both(database_url: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("alter table order_state add constraint unlucky check (history::text !~ 'refunded')")
    rows = [
        admin_payment(f"pay_{number}", word, f"2025-11-03T13:0{minute}:00Z")
        for minute, word in enumerate(("PENDING", "APPROVED", "REFUNDED", "CHARGEBACK"))
        for number in range(3)
    ]
    await append(database_url, rows)
    await fold_live(database_url, page=1)

    both = await compared(database_url, tmp_path)
    shadowed = await owner.fetch("select root, positions from recibo_shadow.parked_root order by root")
    kept = await owner.fetch("select status, facts from recibo_shadow.order_state")
    await owner.execute("alter table order_state drop constraint unlucky")
    mended = await compared(database_url, tmp_path)

    await owner.close()
    assert (both.parked, both.different, both.equal) == (3, 0, True)
    # As far as it folds, in log order; the rest waits.
    assert [list(row["positions"]) for row in shadowed] == [[7, 10], [8, 11], [9, 12]]
    assert [tuple(row) for row in kept] == [("paid", 2)] * 3
    assert (mended.to_retry, mended.different) == (3, 0)


async def test_a_quarantine_that_the_live_side_does_not_have_is_told(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(600))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    first = await owner.fetchval(
        "delete from quarantine where position = (select min(position) from quarantine) returning position"
    )
    await owner.close()

    found = await compared(database_url, tmp_path)

    assert found.unreadable_now == [first]
    assert not found.equal


async def test_a_finished_shadow_catches_up_with_what_came_since(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(800))
    await fold_live(database_url)
    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
    await append(database_url, lives(900)[800:])
    await append(database_url, lives(400, seed=2))
    await fold_live(database_url)

    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
        found = await comparing.compare(site, listed_max=10)

    assert found.equal


async def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database_url, lives(1_200))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    before = await states(owner)
    write = spill.write_durably
    written = 0

    def full(path: Path, parts: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, parts)

    monkeypatch.setattr(spill, "write_durably", full)
    async with rebuilding(database_url, tmp_path) as (site, options):
        with pytest.raises(TransientError, match=r"the disk of .* is full: free"):
            await build(site, options)
    assert await states(owner) == before
    monkeypatch.undo()
    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
        found = await comparing.compare(site, listed_max=10)

    await owner.close()
    assert found.equal
    assert site.counts["rows"] == 1_200


async def test_what_another_fold_or_goal_left_is_not_taken_for_ours(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(300))
    await fold_live(database_url)
    async with rebuilding(database_url, tmp_path):
        pass

    with pytest.raises(PermanentError, match=r"folded by version .* --restart"):
        async with rebuilding(database_url, tmp_path, reading=OTHER):
            pass
    with pytest.raises(PermanentError, match="asked for something else"):
        async with rebuilding(database_url, tmp_path, purpose="verify"):
            pass
    async with rebuilding(database_url, tmp_path, reading=OTHER, restart=True) as (site, options):
        await build(site, options)
        assert site.counts["rows"] == 300


async def test_a_schema_of_somebody_elses_is_left_alone(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(10))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("create schema recibo_shadow create table mine (x int)")

    for restart in (False, True):
        with pytest.raises(PermanentError, match="not made by an unfinished rebuild"):
            async with rebuilding(database_url, tmp_path, restart=restart):
                pass

    assert await owner.fetchval("select count(*) from recibo_shadow.mine") == 0
    await owner.close()


async def test_a_damaged_segment_is_noticed(database_url: str, tmp_path: Path, monkeypatch: Any) -> None:
    await append(database_url, lives(600))
    await fold_live(database_url)

    async def broken(*_: object) -> None:
        raise TransientError("killed")

    monkeypatch.setattr("service.replay.rebuild._fold", broken)
    async with rebuilding(database_url, tmp_path) as (site, options):
        with pytest.raises(TransientError, match="killed"):
            await build(site, options)
    monkeypatch.undo()
    cut_short(files_in(tmp_path)[0])

    async with rebuilding(database_url, tmp_path) as (site, options):
        with pytest.raises(PermanentError, match="--restart"):
            await build(site, options)


async def test_a_live_state_that_went_back_is_noticed(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(300))
    await fold_live(database_url)
    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
    owner = await asyncpg.connect(database_url)
    await owner.execute("update projector_position set position = 5")
    await owner.close()

    with pytest.raises(InvariantError, match="went back"):
        async with rebuilding(database_url, tmp_path):
            pass


async def test_one_rebuild_at_a_time(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(10))
    await fold_live(database_url)

    async with rebuilding(database_url, tmp_path):
        with pytest.raises(TransientError, match="another `recibo replay`"):
            async with rebuilding(database_url, tmp_path):
                pass


async def test_without_any_live_state_it_says_what_to_do(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(10))

    with pytest.raises(PermanentError, match="start a projector"):
        async with rebuilding(database_url, tmp_path):
            pass


async def test_a_verification_finds_a_changed_byte_and_a_hole(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(1_200))
    await fold_live(database_url)
    assert (await verified(database_url, tmp_path)).holds
    owner = await asyncpg.connect(database_url)
    await owner.execute("alter table delivery_log disable trigger user")
    partition = await owner.fetchval("select tableoid::regclass::text from delivery_log where position = 7")
    await owner.execute(f"alter table {partition} disable trigger user")

    await owner.execute("update delivery_log set body = body || ' ' where position = 700")
    with pytest.raises(InvariantError, match="main-700 is not what its sha256 says"):
        await verified(database_url, tmp_path)
    await owner.execute("delete from delivery_log where position = 700")
    with pytest.raises(InvariantError, match="holes after position"):
        await verified(database_url, tmp_path)
    await owner.close()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            "update delivery_log set body = body || ' ' where position = 700",
            "main-700 is not what its sha256",
        ),
        ("delete from delivery_log where position = 700", "holes after position"),
    ],
)
async def test_a_verification_that_goes_on_looks_at_all_that_came_since(
    database_url: str, tmp_path: Path, harm: str, said: str
) -> None:
    rows = lives(900)
    await append(database_url, rows[:400])
    await fold_live(database_url)
    async with rebuilding(database_url, tmp_path, purpose="verify") as (site, options):
        await build(site, options, keep_facts=True)
    await append(database_url, rows[400:])
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    partition = await owner.fetchval("select tableoid::regclass::text from delivery_log where position = 7")
    await owner.execute(f"alter table {partition} disable trigger user")
    await owner.execute(harm)
    await owner.close()

    with pytest.raises(InvariantError, match=said):
        await verified(database_url, tmp_path)


async def test_a_verification_finds_a_hole_in_the_outbox_from_before_the_last_swap(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(400))
    await fold_live(database_url)
    await swapped(database_url, tmp_path)
    owner = await asyncpg.connect(database_url)
    partition = await owner.fetchval("select tableoid::regclass::text from event_log where position = 7")
    await owner.execute(f"alter table {partition} disable trigger user")
    await owner.execute("delete from event_log where position = 20")
    await owner.close()

    with pytest.raises(InvariantError, match="the event log has holes after position 0"):
        await verified(database_url, tmp_path)


async def test_a_verification_finds_an_event_that_is_missing_or_too_much(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, [*lives(400), new_delivery(b"[1]")])
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    partition = await owner.fetchval("select tableoid::regclass::text from event_log where position = 7")
    await owner.execute(f"alter table {partition} disable trigger user")
    await owner.execute("update event_log set event_id = event_id || 'x' where position = 20")
    await owner.execute(
        "update event_log set event_id = 'main-1/quarantined' where position = "
        "(select min(position) from event_log where topic = 'webhooks.quarantine')"
    )
    root = await owner.fetchval("select partition_key from event_log where position = 20")

    found = await verified(database_url, tmp_path)

    await owner.close()
    assert not found.holds
    assert [one.root for one in found.misnamed_listed] == [root]
    assert (found.misnamed_listed[0].expected or "") + "x" == found.misnamed_listed[0].found
    assert len(found.quarantine_untold) == 1
    assert found.quarantine_overtold == [1]


async def test_no_event_is_missed_for_what_a_swap_took_in(database_url: str, tmp_path: Path) -> None:
    rows = [
        admin_payment("pay_1", word, f"2025-11-0{day}T13:00:00Z")
        for day, word in ((3, "PENDING"), (4, "APPROVED"), (5, "REFUNDED"))
    ]
    # Of an older ingress, which read no root in it.
    rows[1] = replace(rows[1], root=None)
    await append(database_url, rows)
    root = rows[0].root
    assert root is not None
    assert partition_of(root) != partition_of("?2")
    connection = await connect(database_url, application="test")
    live = LiveFold(connection, Reading())
    await live.up_to(1)
    await live.up_to(2)
    await swapped(database_url, tmp_path)
    await fold_live(database_url)

    found = await verified(database_url, tmp_path)

    await connection.close()
    assert (found.holds, found.misnamed_listed) == (True, [])


async def test_the_partition_of_a_timeline_is_the_roots(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(200))
    await fold_live(database_url)
    await swapped(database_url, tmp_path)

    owner = await asyncpg.connect(database_url)
    rows = await owner.fetch("select root, partition from timeline")
    assert all(partition_of(row["root"]) == row["partition"] for row in rows)
    assert set(await ends(owner)) >= {row["partition"] for row in rows}
    await owner.close()


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


async def verified_anew(database_url: str, folder: Path) -> bool:
    """Whether a verification holds; what a rebuild left goes first."""
    owner = await asyncpg.connect(database_url)
    await owner.execute("drop schema if exists recibo_shadow cascade")
    await owner.close()
    return (await verified(database_url, folder)).holds


def _members(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}
