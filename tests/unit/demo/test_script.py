"""The demo's script is true: folding each chapter's deliveries gives exactly what the chapter says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson
import pytest

from projections import providers
from projections.delivery import Delivery as Row
from projections.events import Outgoing, outgoing
from projections.facts import Reading, Unreadable
from projections.fold import Root, interpret
from projections.orders import contests_of
from projections.states import CartState, OrderState, SubscriptionState, WithdrawalState
from service.demo.chapters import GENERATION, Chapter, State
from service.demo.script import CURL_BODY, CURL_SOURCE, chapters
from service.simulation.mixing import Delivery

SCRIPT = chapters()
TOLD = [chapter for chapter in SCRIPT if chapter.root is not None]
READING = Reading(payer_key=b"the key of the payer hashes")


class Folded(NamedTuple):
    root: Root
    events: list[Outgoing]


def test_every_chapter_is_of_another_root() -> None:
    assert max(Counter(chapter.root for chapter in TOLD).values()) == 1
    assert len({chapter.title for chapter in SCRIPT}) == len(SCRIPT)


@pytest.mark.parametrize("chapter", TOLD, ids=lambda chapter: chapter.title)
def test_a_chapter_ends_as_it_says(chapter: Chapter) -> None:
    states = folded(chapter).root.states

    aggregate = states.order or states.subscription or states.withdrawal or states.cart
    assert aggregate is not None
    assert seen(aggregate) == chapter.state
    assert [State(dispute.status) for dispute in states.disputes] == list(chapter.disputes)
    assert aggregate.facts == chapter.facts


@pytest.mark.parametrize("chapter", TOLD, ids=lambda chapter: chapter.title)
def test_a_chapter_tells_the_world_what_it_says(chapter: Chapter) -> None:
    root = chapter.root or ""

    told = [(event.type, event.id) for event in folded(chapter).events]
    assert told == [(event.type, event.id_of(root)) for event in chapter.events]


@pytest.mark.parametrize("chapter", TOLD, ids=lambda chapter: chapter.title)
def test_only_what_is_marked_as_a_duplicate_repeats_a_body(chapter: Chapter) -> None:
    bodies: set[bytes] = set()
    for delivery in chapter.deliveries:
        assert (delivery.body in bodies) == (delivery.mutation == "duplicate")
        bodies.add(delivery.body)


@pytest.mark.parametrize("chapter", TOLD, ids=lambda chapter: chapter.title)
def test_only_what_is_marked_as_late_is_overtaken(chapter: Chapter) -> None:
    latest = 0
    for delivery in chapter.deliveries:
        if delivery.mutation != "duplicate":
            assert (delivery.instant < latest) == (delivery.mutation == "late")
        latest = max(latest, delivery.instant)


def test_what_is_unknown_cannot_be_read() -> None:
    unknown = [delivery for chapter in SCRIPT for delivery in chapter.deliveries if is_unknown(delivery)]

    assert len(unknown) == 1
    with pytest.raises(Unreadable):
        providers.read(row(unknown[0], 1), READING)


def test_a_sale_shares_payer_and_product_with_the_cart_that_it_recovers() -> None:
    states = {chapter.root: folded(chapter).root.states for chapter in TOLD}

    recovering = [chapter for chapter in TOLD if chapter.recovers is not None]
    assert recovering
    for chapter in recovering:
        sale, cart = states[chapter.root].order, states[chapter.recovers].cart
        assert sale is not None and cart is not None
        assert sale.payer == cart.payer
        assert set(sale.products or ()) & set(cart.products or ())


def test_the_providers_faults_are_all_in_it() -> None:
    counts = Counter(delivery.mutation for chapter in SCRIPT for delivery in chapter.deliveries)

    assert (counts["forged"], counts["unknown"]) == (1, 1)
    assert counts["duplicate"] >= 4
    assert counts["late"] >= 4
    assert {delivery.source for chapter in SCRIPT for delivery in chapter.deliveries} == {
        "admin",
        "aprovei",
        "barte",
        "gen",
    }


def test_what_is_there_to_paste_is_an_order_of_its_own() -> None:
    root = providers.root_of(CURL_SOURCE, CURL_SOURCE, orjson.loads(CURL_BODY), None)

    assert root not in {chapter.root for chapter in TOLD}


def folded(chapter: Chapter) -> Folded:
    """The chapter's deliveries folded one by one, and then its decision, as the projector does."""
    assert chapter.root is not None
    root = Root.decode(chapter.root, None)
    events: list[Outgoing] = []
    for each in rows(chapter):
        root = joined(root, each, events)
    if chapter.decision is not None:
        root = joined(root, decided(root, chapter.decision), events)
    return Folded(root, [event for event in events if not event.topic.endswith(".state")])


def joined(root: Root, delivery: Row, events: list[Outgoing]) -> Root:
    fact = interpret(delivery, READING)
    after = root.join(fact)
    events += outgoing(root, after, fact=fact, delivery=delivery, log="main", generation=GENERATION)
    return after


def rows(chapter: Chapter) -> Iterator[Row]:
    for position, delivery in enumerate(chapter.deliveries, start=1):
        yield row(delivery, position)


def row(delivery: Delivery, position: int) -> Row:
    """The log's row of `delivery`; accounts and providers are named like their sources here."""
    return Row(
        position=position,
        source=delivery.source,
        account=delivery.source,
        provider=delivery.source,
        root=None if is_unknown(delivery) else root_of(delivery),
        kind=delivery.kind,
        trust="url_token",
        received_at=position,
        recorded_at=position,
        body=delivery.body,
    )


def is_unknown(delivery: Delivery) -> bool:
    return delivery.mutation == "unknown"


def root_of(delivery: Delivery) -> str:
    return providers.root_of(delivery.source, delivery.source, orjson.loads(delivery.body), delivery.kind)


def decided(root: Root, decision: str) -> Row:
    body = {
        "root": root.timeline.root,
        "answers": contests_of(root.timeline)[-1].last_key,
        "decision": decision,
        "decided_at": "2025-11-30T12:00:00.000000+00:00",
    }
    return Row(
        position=1_000,
        source="operator",
        account="operator",
        provider="operator",
        root=root.timeline.root,
        kind=None,
        trust="operator",
        received_at=0,
        recorded_at=0,
        body=orjson.dumps(body),
    )


def seen(state: OrderState | SubscriptionState | WithdrawalState | CartState) -> State:
    """What a chapter says of an aggregate."""
    flags: Sequence[str] = [flag.name for flag in state.flags]
    cents = getattr(state, "amount_cents", None)
    return State(state.status, cents, getattr(state, "refunded_cents", None), tuple(flags))
