"""Gen's chapters: orders computed from their payments, Bolepix (docs/providers/gen.md)."""

from collections.abc import Sequence
from typing import Final

from service.demo.chapters import MONDAY, Chapter, Event, State, sent
from service.simulation.gen import Payment, bolepix, order, payment
from service.simulation.mixing import Delivery, Mutation
from service.simulation.notices import DAY, HOUR, MINUTE, Birth, Notice, person

_RUN: Final = 0xDE300003
"""The first half of the ids."""

_ORDER, _FIRST, _SECOND, _EVENT = 0x0, 0x1, 0x2, 0x100
"""What plays which role in the ids of a chapter."""


def chapters() -> Sequence[Chapter]:
    """All of them, in the order of sending."""
    return (
        _two_payments(),
        _canceled_beside_a_live_one(),
        _order_told_last(),
        _lapsed_authorization(),
        _bolepix(),
    )


def _two_payments() -> Chapter:
    pix = _payment(1, _FIRST, 10_000)
    card = _payment(1, _SECOND, 8_000, method="CREDIT")
    issued = payment(pix, "PENDING", pix.inserted, event_id=_event(1, 1))
    return Chapter(
        title="two payments; an old notice sent again by hand",
        root=_root(1),
        deliveries=[
            _sent(_ordered(1, {"Caneca": (4, 4500)})),
            _sent(issued),
            _sent(payment(card, "PRE_AUTHORIZED", card.inserted, event_id=_event(1, 2))),
            _sent(payment(pix, "PAID", MONDAY + HOUR, event_id=_event(1, 3))),
            _sent(payment(card, "PAID", MONDAY + 2 * HOUR, event_id=_event(1, 4))),
            _sent(issued, "duplicate"),
        ],
        state=State("paid", 18_000),
        events=[
            Event("order.pending", 1),
            Event("order.updated", 2),
            Event("order.authorized", 3),
            Event("order.partially_paid", 4),
            Event("order.paid", 5),
        ],
        facts=5,
    )


def _canceled_beside_a_live_one() -> Chapter:
    pix = _payment(2, _FIRST, 40_000)
    card = _payment(2, _SECOND, 40_000, method="CREDIT")
    return Chapter(
        title="one payment canceled beside a live one",
        root=_root(2),
        deliveries=[
            _sent(_ordered(2, {"Bicicleta": (1, 40_000)})),
            _sent(payment(pix, "PENDING", pix.inserted, event_id=_event(2, 1))),
            _sent(payment(card, "PAID", MONDAY + HOUR, event_id=_event(2, 2))),
            _sent(payment(pix, "CANCELLED", MONDAY + 2 * HOUR, event_id=_event(2, 3))),
        ],
        state=State("paid", 40_000),
        events=[
            Event("order.pending", 1),
            Event("order.updated", 2),
            Event("order.paid", 3),
            Event("order.updated", 4),
        ],
        facts=4,
    )


def _order_told_last() -> Chapter:
    boleto = _payment(3, _FIRST, 9_900, method="BANK_SLIP")
    return Chapter(
        title="a boleto; what was ordered is told last",
        root=_root(3),
        deliveries=[
            _sent(payment(boleto, "PENDING", boleto.inserted, event_id=_event(3, 1))),
            _sent(payment(boleto, "PAID", MONDAY + 2 * DAY, event_id=_event(3, 2))),
            _sent(_ordered(3, {"Livro": (2, 4950)}), "late"),
        ],
        state=State("paid", 9_900),
        events=[Event("order.pending", 1), Event("order.paid", 2), Event("order.updated", 3)],
        facts=3,
    )


def _lapsed_authorization() -> Chapter:
    card = _payment(4, _FIRST, 12_000, method="CREDIT")
    return Chapter(
        title="authorized and never captured",
        root=_root(4),
        deliveries=[
            _sent(_ordered(4, {"Mochila": (1, 12_000)})),
            _sent(payment(card, "PRE_AUTHORIZED", card.inserted, event_id=_event(4, 1))),
            _sent(payment(card, "REVERSED", MONDAY + 5 * DAY, event_id=_event(4, 2))),
        ],
        state=State("canceled", 12_000),
        events=[Event("order.pending", 1), Event("order.authorized", 2), Event("order.canceled", 3)],
        facts=3,
    )


def _bolepix() -> Chapter:
    invoice = Birth(_RUN, 5, MONDAY).uuid(_ORDER)
    created = bolepix("charge-create", invoice, 500, MONDAY, MONDAY, event_id=_event(5, 1))
    paid = bolepix("charge-in", invoice, 500, MONDAY, MONDAY + MINUTE, event_id=_event(5, 2))
    return Chapter(
        title="a Bolepix, told of in the wrong order",
        root=_root(5),
        deliveries=[_sent(paid), _sent(created, "late")],
        state=State("paid", 500),
        events=[Event("order.paid", 1), Event("order.amended", 2)],
        facts=2,
    )


def _payment(number: int, role: int, cents: int, *, method: str = "PIX") -> Payment:
    birth = Birth(_RUN, number, MONDAY)
    return Payment(
        birth.uuid(role),
        birth.uuid(_ORDER),
        cents,
        MONDAY + role * MINUTE,
        method,
        reference=f"PG-{30_000 + 10 * number + role}",
    )


def _ordered(number: int, items: dict[str, tuple[int, int]]) -> Notice:
    birth = Birth(_RUN, number, MONDAY)
    return order(birth.uuid(_ORDER), items, person(30 + number), MONDAY, event_id=_event(number, 0))


def _event(number: int, step: int) -> str:
    return Birth(_RUN, number, MONDAY).uuid(_EVENT + step)


def _root(number: int) -> str:
    return f"gen:order:{Birth(_RUN, number, MONDAY).uuid(_ORDER)}"


def _sent(notice: Notice, mutation: Mutation = "none") -> Delivery:
    return sent("gen", notice, mutation)
