"""The verdict on a demo: silent when all happened, and naming whatever did not."""

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from projections.events import version_text
from service.demo.chapters import GENERATION, Chapter, Event, State, sent
from service.demo.found import Aggregate, Found, Told
from service.demo.verdict import Exchange, shortfalls
from service.simulation.mixing import Delivery
from service.simulation.notices import Notice
from service.simulation.sender import Answer

ORDER, SALE, CART = "shop:order:1", "shop:order:2", "shop:cart:3"
KNOWN, UNKNOWN, FORGED = (
    sent("shop", Notice(0, b"known")),
    sent("shop", Notice(0, b"unknown"), "unknown"),
    sent("shop", Notice(0, b"forged"), "forged"),
)
SCRIPT = [
    Chapter(
        title="disputed",
        root=ORDER,
        deliveries=[KNOWN],
        state=State("disputed", 100),
        disputes=[State("lost")],
        events=[Event("order.disputed", 1), Event("dispute.open", 1, 1), Event("dispute.lost", 2, 1)],
        facts=2,
        decision="lost",
    ),
    Chapter(
        title="recovering",
        root=SALE,
        deliveries=[KNOWN],
        state=State("paid"),
        events=[Event("order.paid", 1)],
        facts=1,
        recovers=CART,
    ),
    Chapter(title="unknown", deliveries=[UNKNOWN]),
    Chapter(title="forged", deliveries=[FORGED]),
]


def answered(delivery: Delivery, status: int, receipt: str | None = None) -> Exchange:
    return Exchange(
        delivery, Answer(status=status, error=None, receipt=receipt, quarantined=None, attempts=1)
    )


EXCHANGES = [
    answered(KNOWN, 200, "main-1"),
    answered(KNOWN, 200, "main-2"),
    answered(UNKNOWN, 200, "main-3"),
    answered(FORGED, 401),
]
FOUND = Found(
    deliveries=4,
    aggregates=[
        Aggregate(kind="order", root=ORDER, ordinal=0, state=State("disputed", 100), facts=2),
        Aggregate(kind="dispute", root=ORDER, ordinal=1, state=State("lost"), facts=2),
        Aggregate(kind="order", root=SALE, ordinal=0, state=State("paid"), facts=1),
    ],
    recoveries={SALE: CART},
    quarantined={"main-3": "domain: unknown"},
    events=[
        Told(position, event.type, event.id_of(root), root, version_text(GENERATION, event.facts))
        for position, (root, event) in enumerate(
            (chapter.root, event) for chapter in SCRIPT if chapter.root for event in chapter.events
        )
    ],
)


def test_nothing_is_said_where_all_happened() -> None:
    assert shortfalls(SCRIPT, EXCHANGES, FOUND) == []


def without_the_last_event(found: Found) -> Found:
    return dataclasses.replace(found, events=found.events[:-1])


def with_an_event_twice(found: Found) -> Found:
    return dataclasses.replace(found, events=[*found.events, found.events[-1]])


def with_two_events_in_the_wrong_order(found: Found) -> Found:
    return dataclasses.replace(found, events=[found.events[1], found.events[0], *found.events[2:]])


def with_an_event_of_another_version(found: Found) -> Found:
    other = dataclasses.replace(found.events[0], id=found.events[1].id)
    return dataclasses.replace(found, events=[other, *found.events[1:]])


def without_a_dispute(found: Found) -> Found:
    return dataclasses.replace(found, aggregates=[found.aggregates[0], found.aggregates[2]])


def with_a_flag(found: Found) -> Found:
    flagged = dataclasses.replace(found.aggregates[0], state=State("disputed", 100, flags=("reopened",)))
    return dataclasses.replace(found, aggregates=[flagged, *found.aggregates[1:]])


def with_a_fact_more(found: Found) -> Found:
    more = [dataclasses.replace(one, facts=one.facts + 1) for one in found.aggregates]
    return dataclasses.replace(found, aggregates=more)


def with_a_stranger(found: Found) -> Found:
    stranger = Aggregate(kind="order", root="shop:order:9", ordinal=0, state=State("paid"), facts=1)
    return dataclasses.replace(found, aggregates=[*found.aggregates, stranger])


def without_the_recovery(found: Found) -> Found:
    return dataclasses.replace(found, recoveries={})


def with_a_known_one_in_quarantine(found: Found) -> Found:
    return dataclasses.replace(found, quarantined={"main-2": "id: missing", **found.quarantined})


def with_an_empty_quarantine(found: Found) -> Found:
    return dataclasses.replace(found, quarantined={})


def with_a_row_too_many(found: Found) -> Found:
    return dataclasses.replace(found, deliveries=5)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (without_the_last_event, f"{SALE} was told as none"),
        (with_an_event_twice, f"{SALE} was told as"),
        (with_two_events_in_the_wrong_order, f"{ORDER} was told as"),
        (with_an_event_of_another_version, f"{ORDER} was told as"),
        (without_a_dispute, f"{ORDER} is itself"),
        (with_a_flag, f"{ORDER} is itself"),
        (with_a_fact_more, f"{ORDER} knows 3 facts, not 2"),
        (with_a_stranger, "shop:order:9 is there, and the script does not know it"),
        (without_the_recovery, "recovered carts by sale are"),
        (with_a_known_one_in_quarantine, "main-2 is in quarantine: id: missing"),
        (with_an_empty_quarantine, "main-3 is unknown, and is not in quarantine"),
        (with_a_row_too_many, "the log holds 5 deliveries, not the 4"),
    ],
)
def test_what_did_not_happen_is_named(change: Callable[[Found], Found], complaint: str) -> None:
    said = shortfalls(SCRIPT, EXCHANGES, change(FOUND))

    assert said[0].startswith(complaint)


def test_a_forged_delivery_that_gets_in_is_named() -> None:
    exchanges: Sequence[Exchange] = [*EXCHANGES[:3], answered(FORGED, 200, "main-4")]

    assert "shop: a forged secret was answered with 200" in shortfalls(SCRIPT, exchanges, FOUND)


def test_a_genuine_delivery_without_a_receipt_is_named() -> None:
    exchanges: Sequence[Exchange] = [answered(KNOWN, 503), *EXCHANGES[1:]]

    assert "shop: a delivery got no receipt but 503" in shortfalls(SCRIPT, exchanges, FOUND)
