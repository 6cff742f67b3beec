"""Any order, any repetition, any cut into batches: the same states."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from projections.facts import Fact
from projections.fold import Root, states_of
from projections.states import States
from projections.timeline import Timeline
from tests.facts import empty_root
from tests.strategies import ONE_ROOT


def arrived(facts: Sequence[Fact]) -> Root:
    """The root after `facts` came one by one."""
    root = empty_root(facts[0].root)
    for each in facts:
        root = root.join(each)
    return root


def naive(facts: Sequence[Fact]) -> States:
    """The states of the set of facts, without joining anything."""
    known: dict[str, Fact] = {}
    for each in facts:
        have = known.get(each.identity)
        if have is None or each.occurred_at < have.occurred_at:
            known[each.identity] = each
    ordered = sorted(
        known.values(), key=lambda f: (f.occurred_at, f.precedence, f.refunded_cents or 0, f.identity)
    )
    return states_of(Timeline(facts[0].root, tuple(ordered)))


@given(st.data())
def test_any_order_and_any_repetition_give_the_same_states(data: st.DataObject) -> None:
    facts = data.draw(ONE_ROOT)
    repeated = facts + data.draw(st.lists(st.sampled_from(facts), max_size=5))
    permuted = data.draw(st.permutations(repeated))

    one, other = arrived(facts), arrived(permuted)

    assert one.encode() == other.encode()
    assert msgspec.json.encode(one.states) == msgspec.json.encode(other.states)


@given(ONE_ROOT)
def test_joining_one_by_one_is_folding_the_set(facts: list[Fact]) -> None:
    assert arrived(facts).states == naive(facts)


@given(st.data())
def test_joining_at_once_is_joining_one_by_one(data: st.DataObject) -> None:
    facts = data.draw(ONE_ROOT)
    repeated = data.draw(st.permutations(facts + data.draw(st.lists(st.sampled_from(facts), max_size=5))))

    assert Timeline.of(facts[0].root, repeated) == arrived(facts).timeline


@given(ONE_ROOT, st.integers(0, 9))
def test_storing_in_between_changes_nothing(facts: list[Fact], cut: int) -> None:
    stored = arrived(facts[:cut]).encode() if facts[:cut] else None

    root = Root.decode(facts[0].root, stored)
    for each in facts[cut:]:
        root = root.join(each)

    assert root == arrived(facts)


@given(ONE_ROOT)
def test_a_dated_fact_never_leaves_fewer_disputes(facts: list[Fact]) -> None:
    root = empty_root(facts[0].root)
    for each in facts:
        before = root
        root = root.join(each)

        if each.dated:
            assert len(root.states.disputes) >= len(before.states.disputes)


@given(ONE_ROOT)
def test_the_last_entry_of_a_history_is_the_status(facts: list[Fact]) -> None:
    states = arrived(facts).states
    aggregates = [states.order, states.subscription, states.withdrawal, states.cart, *states.disputes]

    for state in aggregates:
        if state is not None:
            assert state.history[-1].status == state.status
            assert list(state.history) == sorted(state.history, key=lambda entry: entry.began_at)
