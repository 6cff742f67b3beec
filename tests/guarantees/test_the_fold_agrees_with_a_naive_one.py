"""Promise 4, from outside: a naive fold, written from docs/providers alone, gives the same states.

`tests/checker` imports nothing of the product. Where the two differ, one of them has misread the docs.
"""

from collections.abc import Sequence
from itertools import islice

import msgspec
import orjson
import pytest
from hypothesis import assume, given

from projections.delivery import Delivery
from projections.facts import Reading, Unreadable
from projections.fold import interpret, states_of
from projections.providers import root_of
from projections.states import States
from projections.timeline import Timeline
from service.simulation.mixing import Mixture
from service.simulation.scenarios import deliveries
from tests.bodies import row
from tests.checker.facts import Row
from tests.checker.naive import naive_states, unreadable
from tests.lives import lives

PROVIDERS = ("admin", "aprovei", "barte", "gen")
READING = Reading()
MIXTURE = Mixture(duplicates=0.1, reordered=0.1, unknown=0.02)


@given(lives())
def test_any_life_of_a_root(life: list[Delivery]) -> None:
    # A Bolepix invoice is an order of its own: that one shares its id with an order of payments is no case.
    bodies = b"".join(delivery.body for delivery in life)
    assume(b'"charge-' not in bodies or (b'"PAYMENT.' not in bodies and b'"ORDER.' not in bodies))

    assert_alike([rooted(delivery) for delivery in life])


def test_a_payment_that_is_told_again_was_not_told_of_last() -> None:
    # Of payments that are all dead the last one's word counts; snapshots in a row that say the same are one.
    reversed_at = b'{"id":"b","order_id":"o","status":"REVERSED","updated_at":"2025-10-07T12:00:00Z"}'
    refused = b'{"id":"a","order_id":"o","status":"REFUSED","updated_at":"2025-10-08T12:00:00Z"}'
    told_again = b'{"id":"b","order_id":"o","status":"REVERSED","updated_at":"2025-10-09T12:00:00Z"}'

    assert_alike(
        [
            rooted(row("gen", b'{"event":"PAYMENT.UPDATED","data":%s}' % payment, position))
            for position, payment in enumerate((reversed_at, refused, told_again), start=1)
        ]
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_thousands_of_simulated_lives(seed: int) -> None:
    sent = islice(deliveries(seed, [(name, name) for name in PROVIDERS], MIXTURE), 5_000)

    assert_alike(
        [
            rooted(row(each.source, each.body, position, kind=each.kind))
            for position, each in enumerate(sent, start=1)
        ]
    )


def rooted(delivery: Delivery) -> Delivery:
    """The delivery with the root that the ingress would have stored."""
    try:
        root = root_of(delivery.provider, delivery.account, orjson.loads(delivery.body), delivery.kind)
    except Unreadable:
        return delivery
    return msgspec.structs.replace(delivery, root=root)


def assert_alike(rows: Sequence[Delivery]) -> None:
    naive = [
        Row(
            position=one.position,
            source=one.source,
            account=one.account,
            provider=one.provider,
            root=one.root,
            kind=one.kind,
            recorded_at=one.recorded_at,
            body=one.body,
        )
        for one in rows
    ]
    timelines, refused = folded(rows)

    assert refused == unreadable(naive)
    assert {root: tables(states_of(timeline)) for root, timeline in timelines.items()} == naive_states(naive)


def folded(rows: Sequence[Delivery]) -> tuple[dict[str, Timeline], set[int]]:
    """The timelines by root, and the positions that cannot be read."""
    timelines: dict[str, Timeline] = {}
    refused: set[int] = set()
    for delivery in rows:
        try:
            fact = interpret(delivery, READING)
        except Unreadable:
            refused.add(delivery.position)
        else:
            timelines[fact.root] = timelines.get(fact.root, Timeline(fact.root)).join(fact)
    return timelines, refused


def tables(states: States) -> dict[str, list[dict[str, object]]]:
    """The states as the naive fold has them: table → rows, keyed as the columns are."""
    aggregates: dict[str, list[msgspec.Struct]] = {
        "order_state": [] if states.order is None else [states.order],
        "dispute_state": [*states.disputes],
        "subscription_state": [] if states.subscription is None else [states.subscription],
        "withdrawal_state": [] if states.withdrawal is None else [states.withdrawal],
        "cart_state": [] if states.cart is None else [states.cart],
    }
    return {name: [_columns(one) for one in kept] for name, kept in aggregates.items() if kept}


def _columns(state: msgspec.Struct) -> dict[str, object]:
    columns: dict[str, object] = orjson.loads(msgspec.json.encode(state))
    if "payer" in columns:
        # Without a key nobody is told apart.
        assert columns.pop("payer") is None
        columns |= dict.fromkeys(("payer_document", "payer_email", "payer_phone"))
    return columns
