"""What goes into columns comes out of them: every fact, every state, to the last digit."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from projections.facts import Fact, Payer
from projections.fold import states_of
from projections.states import State, States
from projections.timeline import Timeline
from service.exported import columns
from service.exported.columns import FACT_COLUMNS, PAYER, STATES, Stated
from tests.facts import delivery, fact
from tests.strategies import ONE_ROOT

TEXTS = st.none() | st.text(max_size=3)
FULL = st.builds(
    msgspec.structs.replace,
    st.sampled_from([fact("paid", 1), fact(None, 2, provider="gen")]),
    occurred_at=st.integers(-9_214_560_000_000_000_000, 9_214_646_399_999_999_999),
    occurred_text=TEXTS,
    amount_cents=st.none() | st.integers(-(2**63), 2**63 - 1),
    refunded_cents=st.none() | st.integers(0, 2**63 - 1),
    currency=TEXTS,
    reference=TEXTS,
    method=TEXTS,
    channel=TEXTS,
    payer=st.none() | st.builds(Payer, document=st.just("d"), email=TEXTS.filter(bool), phone=st.none()),
    products=st.none() | st.lists(st.text(max_size=2), max_size=3).map(tuple),
    subtotal_cents=st.none() | st.integers(0, 9),
    recovery_url=TEXTS,
    answers=TEXTS,
    flag=TEXTS,
    win_dated=st.booleans(),
)


def through_columns(facts: Sequence[Fact]) -> list[Fact]:
    rows = [Stated(delivery(position), each) for position, each in enumerate(facts, start=1)]
    return columns.facts_of(columns.facts_table(rows))


@given(st.lists(FULL, min_size=1, max_size=5))
def test_facts_come_out_as_they_went_in(facts: list[Fact]) -> None:
    assert through_columns(facts) == facts


@given(ONE_ROOT)
def test_states_come_out_as_they_went_in(facts: list[Fact]) -> None:
    for table, states in by_table(states_of(Timeline.of(facts[0].root, facts))).items():
        rows = columns.states_table(table, states)

        out = list(columns.states_of_table(table, rows))

        assert msgspec.json.encode(out) == msgspec.json.encode(states)


def by_table(states: States) -> dict[str, list[State]]:
    every = [states.order, *states.disputes, states.subscription, states.withdrawal, states.cart]
    return {
        table: found
        for table, (kind, _) in STATES.items()
        if (found := [state for state in every if isinstance(state, kind)])
    }


def test_every_member_of_a_fact_is_a_column() -> None:
    assert set(FACT_COLUMNS) - set(PAYER) == set(Fact.__struct_fields__) - {"payer"}
    assert set(FACT_COLUMNS) <= set(columns.schema("facts").names)


def test_every_member_of_a_state_is_a_column_named_like_that_of_its_table() -> None:
    for table, (kind, columns_of) in STATES.items():
        members = [
            column for name in kind.__struct_fields__ for column in (PAYER if name == "payer" else (name,))
        ]
        assert columns_of.names == members, table
