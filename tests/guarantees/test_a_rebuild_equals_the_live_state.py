"""Promise 6: a rebuild equals the live state, byte for byte, and publishes nothing; nor does a swap.

What is held here against the system's own log and outbox, tests/faults/every/replay.py holds against the
ledger of a load over HTTP, and against Kafka.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import orjson
import pytest

from projections.facts import Reading
from projections.states import States
from service.eventlog.deliveries import NewDelivery
from service.kafka.partitioner import partition_of
from service.replay import shadow
from service.replay.compare import compare
from service.replay.goal import PREVIOUS
from service.replay.rebuild import build
from service.replay.swap import swap
from tests.projectors import ends, states
from tests.replays import (
    append,
    compared,
    fold_live,
    lives,
    naive_ids,
    naive_states,
    rebuilding,
    swapped,
    told_ids,
    verified,
)
from tests.roles import role
from tests.servers import Kafka, eventually

OTHER = Reading(payer_key=b"another key, so another fold")


@pytest.mark.parametrize("changed", [False, True], ids=["equal states", "other states"])
async def test_under_load_a_rebuild_is_equal_and_its_swap_loses_and_doubles_no_event(
    database_url: str, kafka: Kafka, tmp_path: Path, *, changed: bool
) -> None:
    owner = await asyncpg.connect(database_url)
    rows = lives(4_000)
    await append(database_url, rows[:1_000])
    async with (
        role("relay", database_url, kafka, tmp_path),
        role("projector", database_url, kafka, tmp_path),
    ):
        await _folded(owner, 1_000)
        if changed:
            await owner.execute("update order_state set method = 'by hand' where provider = 'gen'")
            await owner.execute("delete from dispute_state")
        async with _load(database_url, rows[1_000:]) as loading:
            async with rebuilding(database_url, tmp_path, processes=2) as (site, options):
                await build(site, options)
                found = await compare(site, listed_max=3)
                done = await swap(site, publish_amendments=False)
            assert not loading.done(), "the load ended before the swap: make it longer"
        await _folded(owner, len(rows))

    assert found.equal is not changed
    assert (done.generation, done.raised) == ((2, True) if changed else (1, False))
    generations = _generations(done.positions, done.generation)
    assert await told_ids(owner) == await naive_ids(owner, generations)
    assert _own(await naive_states(owner)) == await _own_live(owner)
    await shadow.drop(owner, PREVIOUS)
    await owner.close()
    after = await compared(database_url, tmp_path)
    assert (after.different, after.states_differ) == (0, False)


async def test_rebuild_comparison_and_swap_publish_nothing(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(800))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    told = await owner.fetchval("select last_position from log_head where log = 'events'")

    await compared(database_url, tmp_path, reading=OTHER)
    done = await swapped(database_url, tmp_path, reading=OTHER)

    assert done.raised
    assert await owner.fetchval("select last_position from log_head where log = 'events'") == told
    await owner.close()


async def test_a_consumer_of_ids_and_versions_ends_up_with_the_new_states(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(1_500))
    await fold_live(database_url, up_to=1_200)
    owner = await asyncpg.connect(database_url)
    # An aggregate and a root that the new fold does not know: tombstones.
    bogus = await owner.fetchrow("select * from dispute_state limit 1")
    assert bogus is not None
    await owner.execute(
        "insert into dispute_state select root, 9, account, subject, provider, status, reason, opened_at, "
        "ended_at, decided_at, history, facts from dispute_state limit 1"
    )
    await owner.execute(
        "insert into cart_state select 'shop:cart:gone', account, cart_id, provider, status, amount_cents, "
        "currency, payer_document, payer_email, payer_phone, products, recovery_url, abandoned_at, flags, "
        "history, facts from cart_state limit 1"
    )
    before = await _consumed(owner)

    done = await swapped(database_url, tmp_path, reading=OTHER, publish_amendments=True)
    await fold_live(database_url, reading=OTHER)

    after = await _consumed(owner)
    expected = await _published_states(owner)
    ids = [row["event_id"] for row in await owner.fetch("select event_id from event_log")]
    amended = await owner.fetch(
        "select event_id, topic, value from event_log where headers ->> 'ce_type' like '%.amended' "
        "and event_id like '%@0002.%'"
    )
    tombstones = await owner.fetch("select key from event_log where value is null order by key")
    assert before != after
    assert after == expected
    assert len(ids) == len(set(ids))
    assert done.generation == 2
    assert {row["topic"] for row in amended} >= {"orders", "carts", "subscriptions"}
    assert {row["key"] for row in tombstones} >= {"shop:cart:gone", f"{bogus['root']}/9"}
    assert all(orjson.loads(row["value"])["version"].startswith("0002.") for row in amended)
    await owner.close()


async def test_all_state_lost_the_next_ids_go_on(database_url: str, tmp_path: Path) -> None:
    rows = lives(1_200)
    await append(database_url, rows[:600])
    await fold_live(database_url)
    await swapped(database_url, tmp_path, reading=OTHER)
    await append(database_url, rows[600:900])
    await fold_live(database_url, reading=OTHER)
    owner = await asyncpg.connect(database_url)
    before = await states(owner)

    # What is left: the log, the generations. The outbox stays here only for its ids to be looked at.
    await owner.execute("truncate timeline, order_state, dispute_state, subscription_state, withdrawal_state")
    await owner.execute("truncate cart_state, quarantine, parked_root, retried_delivery, projector_position")
    done = await swapped(database_url, tmp_path, reading=OTHER, state_lost=True)
    rebuilt = await states(owner)
    await append(database_url, rows[900:])
    await fold_live(database_url, reading=OTHER)

    ids = [row["event_id"] for row in await owner.fetch("select event_id from event_log order by position")]
    by_root: dict[str, list[str]] = {}
    for name in ids:
        if "@" in name:
            root, _, version = name.partition("@")
            by_root.setdefault(root, []).append(version.partition("/")[0])
    assert rebuilt == before
    assert done.generation == 3
    assert len(ids) == len(set(ids))
    assert all(versions == sorted(versions) for versions in by_root.values())
    assert any(versions[-1].startswith("0003.") for versions in by_root.values())
    await owner.execute("drop schema recibo_previous cascade")
    await owner.close()
    assert (await verified(database_url, tmp_path, reading=OTHER)).holds


@asynccontextmanager
async def _load(database_url: str, rows: list[NewDelivery]) -> AsyncIterator["asyncio.Task[None]"]:
    """Append `rows` bit by bit until the context is left; then the rest at once."""
    hurry = asyncio.Event()

    async def load() -> None:
        for first in range(0, len(rows), 20):
            await append(database_url, rows[first : first + 20])
            if not hurry.is_set():
                await asyncio.sleep(0.05)

    task = asyncio.create_task(load())
    try:
        yield task
    finally:
        hurry.set()
        await task


async def _folded(owner: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    async def everything_is() -> bool:
        if await owner.fetchval("select last_position from log_head where log = 'deliveries'") < count:
            return False
        places = dict(
            tuple(row) for row in await owner.fetch("select partition, position from projector_position")
        )
        return all(places.get(at, 0) >= end for at, end in (await ends(owner)).items())

    await eventually(everything_is, what="everything is folded", timeout_s=120)


def _generations(positions: dict[int, int], generation: int) -> Callable[[int, str], int]:
    def of(position: int, root: str) -> int:
        return generation if position > positions.get(partition_of(root), 0) else 1

    return of


def _own(found: dict[str, States]) -> dict[str, tuple[str, int, list[str]]]:
    """Each root's status, facts and the statuses of its disputes."""
    own: dict[str, tuple[str, int, list[str]]] = {}
    for root, each in found.items():
        state = each.order or each.subscription or each.withdrawal or each.cart
        assert state is not None
        own[root] = (state.status, state.facts, [*(dispute.status for dispute in each.disputes)])
    return own


async def _own_live(owner: "asyncpg.Connection[asyncpg.Record]") -> dict[str, tuple[str, int, list[str]]]:
    own: dict[str, tuple[str, int, list[str]]] = {}
    for table in ("order_state", "subscription_state", "withdrawal_state", "cart_state"):
        for row in await owner.fetch(f"select root, status, facts from {table}"):
            own[row["root"]] = (row["status"], row["facts"], [])
    for row in await owner.fetch("select root, status from dispute_state order by root, ordinal"):
        own[row["root"]][2].append(row["status"])
    return own


async def _consumed(owner: "asyncpg.Connection[asyncpg.Record]") -> dict[str, tuple[str, str]]:
    """What one knows who reads the compacted topics and believes the newest version: key → status, method."""
    known: dict[str, tuple[str, dict[str, object]]] = {}
    for row in await owner.fetch(
        "select key, value from event_log where topic like '%.state' order by position"
    ):
        if row["value"] is None:
            known.pop(row["key"], None)
            continue
        value = orjson.loads(row["value"])
        if row["key"] not in known or known[row["key"]][0] < value["version"]:
            known[row["key"]] = (value["version"], value)
    return {key: _told(value) for key, (_, value) in known.items()}


async def _published_states(owner: "asyncpg.Connection[asyncpg.Record]") -> dict[str, tuple[str, str]]:
    """What is true by the tables, in the same words."""
    found = {}
    for table in ("order", "subscription", "withdrawal", "cart", "dispute"):
        for row in await owner.fetch(f"select to_jsonb(t) as state from {table}_state t"):
            state = orjson.loads(row["state"])
            payer = {name: state.pop(f"payer_{name}", None) for name in ("document", "email", "phone")}
            state["payer"] = {name: value for name, value in payer.items() if value is not None} or None
            key = f"{state['root']}/{state['ordinal']}" if table == "dispute" else state["root"]
            found[key] = _told(state)
    return found


def _told(state: dict[str, object]) -> tuple[str, str]:
    return str(state["status"]), str(state.get("payer") or None)
