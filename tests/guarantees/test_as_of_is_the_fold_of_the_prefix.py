"""Known by then, happened by then: at every position of a history, what a naive fold of that prefix gives."""

from pathlib import Path

import asyncpg
import pytest

from projections.facts import Reading
from projections.fold import interpret, states_of
from projections.timeline import Timeline
from service.eventlog.deliveries import NewDelivery
from service.kafka.headers import nanoseconds
from service.replay import as_of, shadow
from service.replay.goal import Goal
from service.replay.rebuild import build
from service.replay.site import Options, site
from service.simulation.mixing import Mixture
from tests.deliveries import new_delivery
from tests.replays import append, facts_in, fold_live, lives, naive_states, whole_log

ROOTS = 5


def history(seed: int) -> list[NewDelivery]:
    """The whole lives of a few roots, repeats and late arrivals included, and something unreadable."""
    rows = lives(1_500, seed=seed, mixture=Mixture(duplicates=0.2, reordered=0.2))
    roots = list(dict.fromkeys(row.root for row in rows if row.root is not None))[3 : 3 + ROOTS]
    chosen = [row for row in rows if row.root in roots]
    return [*chosen[:10], new_delivery(b"[1]"), *chosen[10:]]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_each_root_at_every_position_and_instant(database_url: str, seed: int) -> None:
    rows = history(seed)
    await append(database_url, rows, batch=1)
    connection = await asyncpg.connect(database_url)
    log = await connection.fetch("select * from delivery_log order by position")
    facts = {
        delivery.position: interpret(delivery, Reading())
        for delivery in await whole_log(connection)
        if delivery.root is not None
    }
    roots = {fact.root for fact in facts.values()}

    for row in log:
        position = await as_of.position_at(connection, nanoseconds(row["recorded_at"]))
        assert position == row["position"]
        for root in roots:
            known = [fact for at, fact in facts.items() if at <= position and fact.root == root]
            timeline = Timeline(root)
            for fact in known:
                timeline = timeline.join(fact)
            seen = await as_of.seen(connection, root, reading=Reading(), position=position)
            assert seen.states == states_of(timeline)
            assert sum(entry.counts for entry in seen.entries) == len(timeline.entries)
            assert [entry.known for entry in seen.entries].count(False) == sum(
                entry.position > position for entry in seen.entries
            )
    for root in roots:
        for instant in sorted({fact.occurred_at for fact in facts.values() if fact.root == root}):
            for at in (instant - 1, instant):
                timeline = Timeline(root)
                for fact in facts.values():
                    if fact.root == root and fact.occurred_at <= at:
                        timeline = timeline.join(fact)
                seen = await as_of.seen(connection, root, reading=Reading(), effective_at=at)
                assert seen.states == states_of(timeline)
    await connection.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_each_root_at_every_position_by_every_instant(database_url: str, seed: int) -> None:
    await append(database_url, history(seed)[:30], batch=1)
    connection = await asyncpg.connect(database_url)
    facts = await facts_in(connection, Reading())

    for position in range(1, 31):
        for root in {fact.root for _, fact in facts}:
            timeline = Timeline(root)
            for at, fact in facts:
                if at <= position and fact.root == root:
                    timeline = timeline.join(fact)
            for instant in sorted({fact.occurred_at for _, fact in facts if fact.root == root}):
                seen = await as_of.seen(
                    connection, root, reading=Reading(), position=position, effective_at=instant
                )
                assert seen.states == states_of(timeline.until(instant))
    await connection.close()


@pytest.mark.parametrize("position", [1, 17, 400, 900])
@pytest.mark.parametrize("happened", [None, 0.3, 0.7])
async def test_all_roots_into_a_schema(
    database_url: str, tmp_path: Path, position: int, happened: float | None
) -> None:
    """`happened`: the part of all facts that had."""
    await append(database_url, lives(900))
    await fold_live(database_url, up_to=350)
    owner = await asyncpg.connect(database_url)
    instants = sorted(fact.occurred_at for _, fact in await facts_in(owner, Reading()))
    effective_at = None if happened is None else instants[int(len(instants) * happened)]
    goal = Goal(
        purpose="as_of",
        schema="then",
        log="main",
        reading=Reading(),
        position=position,
        effective_at=effective_at,
    )
    options = Options(
        database_url=database_url, owner_url=database_url, spill_folder=tmp_path, processes=1, strip_rows=200
    )

    async with site(goal, options) as place:
        await build(place, options)
        await shadow.finish(place.writer, "then", "as of then")

    expected = await naive_states(owner, up_to=position, effective_at=effective_at)
    orders = {root: states.order for root, states in expected.items() if states.order is not None}
    rows = await owner.fetch('select root, status, facts from "then".order_state')
    disputes = await owner.fetchval('select count(*) from "then".dispute_state')
    assert {row["root"]: (row["status"], row["facts"]) for row in rows} == {
        root: (order.status, order.facts) for root, order in orders.items()
    }
    assert disputes == sum(len(states.disputes) for states in expected.values())
    assert await owner.fetchval('select count(*) from "then".timeline') == len(expected)
    await owner.execute("set role recibo_analyst")
    assert await owner.fetchval('select count(*) from "then".order_state') == len(orders)
    await owner.close()
