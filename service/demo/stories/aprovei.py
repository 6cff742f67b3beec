"""Aprovei's chapters: sales, carts, a win that nothing dates (docs/providers/aprovei.md)."""

from collections.abc import Sequence
from typing import Final

from service.demo.chapters import MONDAY, Chapter, Event, State, sent
from service.simulation.aprovei import Product, Sale, cart, sale
from service.simulation.mixing import Delivery, Mutation
from service.simulation.notices import DAY, HOUR, MINUTE, Notice, person

_COOKBOOK: Final = Product("Livro de receitas", "SKU-LR", 4500, 2)
_COURSE: Final = Product("Curso", "SKU-CU", 9900)

_BUYER: Final = person(45)
"""Who leaves a cart and comes back."""


def chapters() -> Sequence[Chapter]:
    """All of them, in the order of sending."""
    return (
        _approved_before_it_was_new(),
        _refund_and_chargeback_of_one_instant(),
        _possible_win(),
        _cart_left_for_good(),
        _cart_come_back_to(),
        _recovering_sale(),
    )


def _approved_before_it_was_new() -> Chapter:
    sold = Sale("APVDEMO0001", person(41), (_COOKBOOK,), MONDAY, "LJ-40001", 1500, 500)
    approved = sale(sold, "approved", MONDAY + 4 * MINUTE, approved=MONDAY + 4 * MINUTE)
    return Chapter(
        title="approved before the new sale is told",
        root=_root(sold),
        deliveries=[
            _sent(approved),
            _sent(approved, "duplicate"),
            _sent(sale(sold, "pending", MONDAY), "late"),
        ],
        state=State("paid", 10_000),
        events=[Event("order.paid", 1), Event("order.amended", 2)],
        facts=2,
    )


def _refund_and_chargeback_of_one_instant() -> Chapter:
    sold = Sale("APVDEMO0002", person(42), (_COURSE,), MONDAY)
    approved, refunded = MONDAY + MINUTE, MONDAY + 5 * DAY
    return Chapter(
        title="refunded and charged back at one instant",
        root=_root(sold),
        deliveries=[
            _sent(sale(sold, "approved", approved, approved=approved)),
            _sent(sale(sold, "refunded", refunded, approved=approved, refunded=refunded)),
            _sent(sale(sold, "chargeback", refunded, approved=approved, refunded=refunded)),
        ],
        state=State("charged_back", 9900, 9900, flags=("double_loss",)),
        disputes=[State("charged_back")],
        events=[
            Event("order.paid", 1),
            Event("order.refunded", 2),
            Event("order.charged_back", 3),
            Event("dispute.charged_back", 3, 1),
        ],
        facts=3,
    )


def _possible_win() -> Chapter:
    sold = Sale("APVDEMO0003", person(43), (_COURSE,), MONDAY)
    approved, taken_back = MONDAY + MINUTE, MONDAY + 6 * DAY
    return Chapter(
        title="perhaps won; an operator closes the dispute",
        root=_root(sold),
        deliveries=[
            _sent(sale(sold, "approved", approved, approved=approved)),
            _sent(sale(sold, "chargeback", taken_back, approved=approved, refunded=taken_back)),
            _sent(sale(sold, "approved", taken_back, approved=approved, refunded=taken_back)),
        ],
        state=State("charged_back", 9900, flags=("possible_win",)),
        disputes=[State("closed")],
        events=[
            Event("order.paid", 1),
            Event("order.charged_back", 2),
            Event("dispute.charged_back", 2, 1),
            Event("order.amended", 3),
            Event("dispute.closed", 4, 1),
        ],
        facts=4,
        decision="closed",
    )


def _cart_left_for_good() -> Chapter:
    return Chapter(
        title="left for good",
        root="aprovei:cart:CARTDEMO0004",
        deliveries=[_sent(cart("CARTDEMO0004", person(44), (_COURSE,), MONDAY))],
        state=State("abandoned", 9900),
        events=[Event("cart.abandoned", 1)],
        facts=1,
    )


def _cart_come_back_to() -> Chapter:
    return Chapter(
        title="left on Monday, come back to on Tuesday",
        root="aprovei:cart:CARTDEMO0005",
        deliveries=[_sent(cart("CARTDEMO0005", _BUYER, (_COOKBOOK, _COURSE), MONDAY))],
        state=State("abandoned", 18_900),
        events=[Event("cart.abandoned", 1)],
        facts=1,
    )


def _recovering_sale() -> Chapter:
    sold = Sale("APVDEMO0005", _BUYER, (_COOKBOOK,), MONDAY + DAY, "LJ-40005", 1500)
    approved = MONDAY + DAY + HOUR
    return Chapter(
        title="a sale on Tuesday that recovers Monday's cart",
        root=_root(sold),
        deliveries=[
            _sent(sale(sold, "pending", sold.created)),
            _sent(sale(sold, "approved", approved, approved=approved)),
        ],
        state=State("paid", 10_500),
        events=[Event("order.pending", 1), Event("order.paid", 2)],
        facts=2,
        recovers="aprovei:cart:CARTDEMO0005",
    )


def _root(sold: Sale) -> str:
    return f"aprovei:order:{sold.token}"


def _sent(notice: Notice, mutation: Mutation = "none") -> Delivery:
    return sent("aprovei", notice, mutation)
