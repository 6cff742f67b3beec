"""What a root's changes tell the world."""

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given

from projections.events import Outgoing, rfc3339, version_text
from projections.facts import Fact, Payer
from projections.states import States
from tests.facts import ORDER, data, decision, empty_root, events_of, fact, items, payment
from tests.strategies import ONE_ROOT


def domain(records: Sequence[Outgoing]) -> list[Outgoing]:
    return [record for record in records if not record.topic.endswith(".state")]


def last(facts: Sequence[Fact]) -> list[str]:
    """The types of the events that the last of `facts` causes."""
    before = events_of(facts[:-1]) if facts[:-1] else []
    return [event.type for event in domain(events_of(facts)[len(before) :])]


def test_a_version_sorts_as_text() -> None:
    assert version_text(1, 3) == "0001.0000000003"
    assert version_text(2, 1) > version_text(1, 10) > version_text(1, 9)


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1_762_174_930_120_034_551, "2025-11-03T13:02:10.120034551Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (-9_214_560_000_000_000_000, "1678-01-01T00:00:00.000000000Z"),
    ],
)
def test_an_instant_keeps_its_nanoseconds(instant: int, text: str) -> None:
    assert rfc3339(instant) == text


def test_a_first_fact_tells_its_status_and_the_whole_state() -> None:
    event, record = events_of([fact("pending", 1, amount_cents=900)])

    assert event._replace(data=None) == Outgoing(
        topic="orders",
        key=ORDER,
        partition_key=ORDER,
        id=f"{ORDER}@0001.0000000001/0",
        type="order.pending",
        subject=ORDER,
        time="2025-11-03T13:00:01.000000000Z",
        sequence="0001.0000000001",
        data=None,
    )
    assert data(event)["previous_status"] is None
    assert data(event)["cause"] == {"log": "main", "position": 1}
    assert data(event)["recorded_at"] == "2025-11-03T13:00:01.000000000Z"
    assert (record.topic, record.key, record.id) == ("orders.state", ORDER, f"{event.id}/state")
    assert (record.type, data(record)["version"]) == ("order.state", "0001.0000000001")
    assert data(record)["amount_cents"] == 900


@pytest.mark.parametrize(
    ("facts", "types"),
    [
        ([fact("pending", 1), fact("paid", 2)], ["order.paid"]),
        ([fact("paid", 1), fact("paid", 2, reference="LJ-1")], ["order.updated"]),
        ([fact("paid", 1), fact("paid", 2, amount_cents=5)], ["order.updated"]),
        ([fact("paid", 2), fact("pending", 1)], ["order.amended"]),
        ([fact("refunded", 2), fact("paid", 1)], ["order.amended"]),
        ([fact("paid", 1), fact("paid", 2)], []),
        ([fact("paid", 1, word="PAID"), fact("paid", 2, word="PAID_MANUALLY")], []),
        ([fact("paid", 1), fact("charged_back", 2)], ["order.charged_back", "dispute.charged_back"]),
        ([fact("paid", 1), fact("alert", 2)], ["dispute.alerted"]),
        ([fact("alert", 1), fact("disputed", 2)], ["order.disputed", "dispute.open"]),
        ([fact("charged_back", 1), fact("paid", 2)], ["order.paid", "dispute.won"]),
        (
            [fact("charged_back", 1), decision("lost", fact("charged_back", 1).key, 2)],
            ["dispute.lost"],
        ),
        ([fact("charged_back", 2), fact("charged_back", 1)], ["order.amended", "dispute.amended"]),
        ([fact("charged_back", 1), decision("lost", "unknown", 2)], ["order.amended"]),
        ([items(0, 200), payment("a", "pending", 1), payment("b", "pending", 2)], ["order.updated"]),
        (
            [payment("b", "disputed", 2), payment("a", "disputed", 1)],
            ["order.updated", "dispute.updated", "dispute.open"],
        ),
        (
            [fact("active", 1, kind="subscription"), fact("past_due", 2, kind="subscription")],
            ["subscription.past_due"],
        ),
        (
            [fact("approved", 1, kind="withdrawal"), fact("rejected", 2, kind="withdrawal")],
            ["withdrawal.rejected"],
        ),
        ([fact("abandoned", 1, kind="cart")], ["cart.abandoned"]),
        ([fact("abandoned", 2, kind="cart"), fact("abandoned", 1, kind="cart")], ["cart.amended"]),
    ],
)
def test_each_change_is_told_as_what_it_is(facts: list[Fact], types: list[str]) -> None:
    assert last(facts) == types


def test_a_disputes_event_is_numbered_by_its_ordinal_and_travels_with_its_order() -> None:
    _, dispute, _, record = events_of([fact("charged_back", 1)])

    assert (dispute.topic, dispute.subject) == ("disputes", f"{ORDER}/1")
    assert (dispute.key, dispute.partition_key) == (ORDER, ORDER)
    assert dispute.id == f"{ORDER}@0001.0000000001/1"
    assert (record.topic, record.key, record.partition_key) == ("disputes.state", f"{ORDER}/1", ORDER)
    assert record.id == f"{ORDER}@0001.0000000001/1/state"


def test_each_new_fact_writes_every_aggregates_state_event_or_not() -> None:
    facts = [fact("charged_back", 1), fact("paid", 2)]

    told = events_of([*facts, fact("paid", 3)])[len(events_of(facts)) :]

    assert [record.type for record in told] == ["order.state", "dispute.state"]


def test_a_repeat_tells_nothing() -> None:
    assert events_of([fact("paid", 1), fact("paid", 1)]) == events_of([fact("paid", 1)])


def test_a_fact_that_only_moves_to_an_earlier_instant_tells_nothing() -> None:
    late, early = (fact("paid", second, occurred_text=None) for second in (3, 1))
    known = empty_root().join(late).join(fact("refunded", 2))

    moved = known.join(early)

    assert moved.states != known.states
    assert events_of([early], known) == []


def test_a_dispute_that_such_a_move_dissolves_is_deleted_from_the_compacted_topic() -> None:
    late, early = (fact("paid", second, occurred_text=None) for second in (3, 1))
    known = empty_root()
    for each in (fact("disputed", 2), late, fact("disputed", 4)):
        known = known.join(each)

    (gone,) = events_of([early], known)

    assert (gone.topic, gone.key, gone.data) == ("disputes.state", f"{ORDER}/2", None)
    assert gone.id == f"{ORDER}@0001.0000000003/2/gone"


def test_people_are_hashes_or_absent() -> None:
    payer = Payer(document="0" * 32)

    event, record = events_of([fact("paid", 1, payer=payer)])

    assert data(event)["payer"] == data(record)["payer"] == {"document": "0" * 32}


@given(ONE_ROOT)
def test_no_id_is_used_twice(facts: list[Fact]) -> None:
    # Two moves can delete one dispute's record twice, which is the same as once.
    ids = [event.id for event in events_of(facts) if event.data is not None]

    assert len(ids) == len(set(ids))


@given(ONE_ROOT)
def test_a_consumer_that_keeps_the_newest_version_ends_at_the_final_state(facts: list[Fact]) -> None:
    dated = [each for each in facts if each.dated]
    if not dated:
        return
    root = empty_root(dated[0].root)
    for each in dated:
        root = root.join(each)

    newest: dict[str, Outgoing] = {}
    statuses: dict[str, str] = {}
    # Backwards and twice, as redelivery may: id and version are all that the consumer goes by.
    records = events_of(dated)
    for record in [*reversed(records), *records]:
        known = newest.get(record.key)
        if record.topic.endswith(".state") and (known is None or known.sequence < record.sequence):
            newest[record.key] = record
    for event in domain(records):
        assert data(event)["previous_status"] == statuses.get(event.subject)
        statuses[event.subject] = data(event)["status"]

    assert {key: without_version(record) for key, record in newest.items()} == by_aggregate(root.states)
    assert statuses == {key: state["status"] for key, state in by_aggregate(root.states).items()}


def without_version(record: Outgoing) -> dict[str, Any]:
    state = data(record)
    del state["version"]
    return state


def by_aggregate(states: States) -> dict[str, dict[str, Any]]:
    own = [states.order, states.subscription, states.withdrawal, states.cart]
    known = {state.root: state for state in own if state is not None}
    disputes = {f"{dispute.root}/{dispute.ordinal}": dispute for dispute in states.disputes}
    return {key: orjson.loads(msgspec.json.encode(state)) for key, state in {**known, **disputes}.items()}
