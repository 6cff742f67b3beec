"""The timeline: a set of facts, in one order."""

from hypothesis import given
from hypothesis import strategies as st

from projections.facts import Fact
from projections.timeline import Timeline
from tests.facts import ORDER, at, fact
from tests.strategies import snapshots


def timeline(*facts: Fact) -> Timeline:
    joined = Timeline(ORDER)
    for each in facts:
        joined = joined.join(each)
    return joined


def test_a_repeat_changes_nothing() -> None:
    known = timeline(fact("paid", 1))

    assert known.join(fact("paid", 1)) is known


def test_two_contents_under_one_key_are_two_facts() -> None:
    one, other = fact("paid", 1, amount_cents=1), fact("paid", 1, amount_cents=2)

    assert one.key == other.key
    assert len(timeline(one, other).entries) == 2


def test_an_undated_fact_takes_its_earliest_instant_in_any_order() -> None:
    undated = [fact("paid", second, occurred_text=None) for second in (3, 1, 2)]

    forwards, backwards = timeline(*undated), timeline(*reversed(undated))

    assert forwards == backwards
    assert [entry.occurred_at for entry in forwards.entries] == [at(1)]


def test_a_fact_that_moves_to_an_earlier_instant_takes_its_new_place() -> None:
    late, early = (fact("paid", second, occurred_text=None) for second in (5, 1))

    moved = timeline(late, fact("refunded", 3)).join(early)

    assert [entry.status for entry in moved.entries] == ["paid", "refunded"]


def test_a_date_that_the_sender_gave_counts_before_the_logs() -> None:
    # Gen's envelope may carry a date, and no identity covers the envelope.
    dated, undated = fact("paid", 5, identity="k|d"), fact("paid", 1, identity="k|d", occurred_text=None)

    assert timeline(undated, dated) == timeline(dated, undated) == timeline(dated)


def test_what_is_stored_gives_the_same_timeline() -> None:
    known = timeline(fact("paid", 1, amount_cents=5, products=("A",)), fact("refunded", 2, flag=None))

    assert Timeline.decode(ORDER, known.encode()) == known
    assert Timeline.decode(ORDER, None) == Timeline(ORDER)


@given(st.lists(snapshots(), max_size=9))
def test_a_timeline_of_many_facts_is_that_of_joining_them_one_by_one(facts: list[Fact]) -> None:
    joined = Timeline(ORDER)
    for each in facts:
        joined = joined.join(each)

    assert Timeline.of(ORDER, facts) == joined
    assert Timeline.of(ORDER, reversed(facts)).encode() == joined.encode()


@given(st.lists(snapshots(), max_size=9), st.integers(0, 4))
def test_until_an_instant_is_what_had_occurred_by_then(facts: list[Fact], second: int) -> None:
    timeline = Timeline.of(ORDER, facts)

    until = timeline.until(at(second))

    assert list(until.entries) == [fact for fact in timeline.entries if fact.occurred_at <= at(second)]
