"""Promise 4: real bodies in any order, with any repetition, cut into any batches, give the same state."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from projections.delivery import Delivery
from projections.events import Outgoing, outgoing, version_text
from projections.facts import Fact
from projections.fold import Root, states_of
from projections.states import States
from projections.timeline import Timeline
from tests.facts import data, empty_root
from tests.lives import lives, read

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"

any_lives = settings(deadline=None, max_examples=300)


@functools.cache
def validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{event_type}.json").read_bytes()))


def folded(deliveries: Sequence[Delivery], cuts: frozenset[int] = frozenset()) -> Root:
    """The root after `deliveries`, stored and loaded again after those at `cuts`."""
    root = empty_root(read(deliveries[0]).root)
    for index, delivery in enumerate(deliveries):
        root = root.join(read(delivery))
        if index in cuts:
            root = Root.decode(root.timeline.root, root.encode())
    return root


def naive(deliveries: Sequence[Delivery]) -> States:
    """The states of the set of facts: of repeats the earliest, a date of the sender's before the log's."""
    known: dict[str, Fact] = {}
    for fact in map(read, deliveries):
        have = known.get(fact.identity)
        if have is None or _rank(fact) < _rank(have):
            known[fact.identity] = fact
    ordered = sorted(
        known.values(),
        key=lambda fact: (fact.occurred_at, fact.precedence, fact.refunded_cents or 0, fact.identity),
    )
    return states_of(Timeline(ordered[0].root, tuple(ordered)))


def told(deliveries: Sequence[Delivery]) -> list[Outgoing]:
    """Every record that folding `deliveries` one by one puts out."""
    root = empty_root(read(deliveries[0]).root)
    records: list[Outgoing] = []
    for delivery in deliveries:
        fact = read(delivery)
        after = root.join(fact)
        records += outgoing(root, after, fact=fact, delivery=delivery, log="main", generation=1)
        root = after
    return records


@any_lives
@given(lives(), st.data())
def test_any_order_any_repetition_and_any_batches_give_the_same_state(
    deliveries: list[Delivery], draw: st.DataObject
) -> None:
    repeated = deliveries + draw.draw(st.lists(st.sampled_from(deliveries), max_size=5))
    permuted = draw.draw(st.permutations(repeated))
    cuts = draw.draw(st.frozensets(st.integers(0, len(permuted))))

    one, other = folded(deliveries), folded(permuted, cuts)

    assert other.encode() == one.encode()
    assert msgspec.json.encode(other.states) == msgspec.json.encode(one.states)


@any_lives
@given(lives())
def test_the_state_is_that_of_an_independent_fold_of_the_set(deliveries: list[Delivery]) -> None:
    assert folded(deliveries).states == naive(deliveries)


@any_lives
@given(lives(), st.data())
def test_a_new_dated_fact_never_leaves_fewer_disputes(
    deliveries: list[Delivery], draw: st.DataObject
) -> None:
    root = empty_root(read(deliveries[0]).root)
    for delivery in draw.draw(st.permutations(deliveries)):
        fact = read(delivery)
        before, root = root, root.join(fact)

        if fact.dated and root.facts > before.facts:
            assert len(root.states.disputes) >= len(before.states.disputes)


@any_lives
@given(lives(), st.data())
def test_whatever_is_told_is_valid_by_the_schema_of_its_type_and_has_an_id_of_its_own(
    deliveries: list[Delivery], draw: st.DataObject
) -> None:
    records = told(draw.draw(st.permutations(deliveries)))

    for record in records:
        if record.data is not None:
            validator(record.type).validate(data(record))
    kept = [record.id for record in records if record.data is not None]
    assert len(set(kept)) == len(kept)


@any_lives
@given(lives(), st.data())
def test_every_aggregate_has_a_last_state_record_and_nothing_else_has_one(
    deliveries: list[Delivery], draw: st.DataObject
) -> None:
    # Without repeats: one that came with an earlier date is told of with the next new fact only.
    distinct = list({read(delivery).identity: delivery for delivery in deliveries}.values())
    root = folded(distinct)

    latest = {
        record.key: record for record in told(draw.draw(st.permutations(distinct))) if _is_state(record)
    }

    one = root.states.order or root.states.subscription or root.states.withdrawal or root.states.cart
    expected: dict[str, object] = {root.timeline.root: one}
    expected |= {f"{root.timeline.root}/{dispute.ordinal}": dispute for dispute in root.states.disputes}
    kept = {key: data(record) for key, record in latest.items() if record.data is not None}
    version = {"version": version_text(1, root.facts)}
    assert kept == {key: version | json.loads(msgspec.json.encode(state)) for key, state in expected.items()}


def _is_state(record: Outgoing) -> bool:
    return record.topic.endswith(".state")


def _rank(fact: Fact) -> tuple[bool, int, str]:
    return not fact.dated, fact.occurred_at, fact.occurred_text or ""
