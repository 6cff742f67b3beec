"""What a swap tells of a root that it changes: amendments, states, tombstones, in the new generation."""

from projections.events import Amendment, amendments
from projections.facts import Fact
from projections.fold import Root, states_of
from projections.timeline import Timeline
from tests.facts import ORDER, START, at, data, empty_root, fact


def root_of(*facts: Fact) -> Root:
    timeline = Timeline.of(ORDER, facts)
    return Root(timeline, states_of(timeline))


def told(after: Root, *changed: Amendment) -> list[tuple[str, str, str, bool]]:
    return [
        (record.topic, record.type, record.id, record.data is None)
        for record in amendments(after, changed, log="main", position=77, swapped_at=START, generation=3)
    ]


def test_a_changed_aggregate_is_amended_and_its_state_written_anew() -> None:
    after = root_of(fact("paid", 1), fact("disputed", 2))

    assert told(after, Amendment("order", 0, "pending"), Amendment("dispute", 1, None)) == [
        ("orders", "order.amended", f"{ORDER}@0003.0000000002/0", False),
        ("disputes", "dispute.amended", f"{ORDER}@0003.0000000002/1", False),
        ("orders.state", "order.state", f"{ORDER}@0003.0000000002/0/state", False),
        ("disputes.state", "dispute.state", f"{ORDER}@0003.0000000002/1/state", False),
    ]


def test_what_did_not_change_is_not_told_of() -> None:
    after = root_of(fact("paid", 1), fact("disputed", 2))

    assert {topic for topic, *_ in told(after, Amendment("dispute", 1, "won"))} == {
        "disputes",
        "disputes.state",
    }


def test_what_vanished_leaves_a_tombstone() -> None:
    after = root_of(fact("paid", 1))

    assert told(after, Amendment("dispute", 2, "open")) == [
        ("disputes.state", "dispute.state", f"{ORDER}@0003.0000000001/2/gone", True)
    ]
    assert told(empty_root(), Amendment("order", 0, "paid")) == [
        ("orders.state", "order.state", f"{ORDER}@0003.0000000000/0/gone", True)
    ]


def test_the_cause_is_the_swap_itself() -> None:
    after = root_of(fact("pending", 0), fact("paid", 9))

    (event, _) = amendments(
        after, [Amendment("order", 0, "pending")], log="main", position=77, swapped_at=at(50), generation=2
    )

    document = data(event)
    assert document["previous_status"] == "pending"
    assert document["status"] == "paid"
    assert document["cause"] == {"log": "main", "position": 77}
    assert document["occurred_at"] == "2025-11-03T13:00:09.000000000Z"
    assert document["recorded_at"] == "2025-11-03T13:00:50.000000000Z"
