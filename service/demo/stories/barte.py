"""Barte's chapters: orders without amounts, disputes, a subscription (docs/providers/barte.md)."""

from collections.abc import Sequence
from typing import Final

from service.demo.chapters import MONDAY, Chapter, Event, State, sent
from service.simulation.barte import Order, Refund, snapshot
from service.simulation.mixing import Delivery, Mutation
from service.simulation.notices import DAY, HOUR, MINUTE, Birth, Notice, person

_RUN: Final = 0xDE300001
"""The first half of the ids."""


def chapters() -> Sequence[Chapter]:
    """All of them, in the order of sending."""
    return (
        _paid_by_card(),
        _late_boleto(),
        _partial_refunds(),
        _chargeback_won(),
        _refund_after_chargeback(),
        _lost_by_decision(),
        _at_a_terminal(),
        _subscription(),
        _unknown_domain(),
        _forged(),
    )


def _paid_by_card() -> Chapter:
    order = _order(1)
    paid = snapshot(order, "PAID", MONDAY + 3 * MINUTE + 120_034_551)
    return Chapter(
        title="paid by card, and told twice",
        root=_root(order),
        deliveries=[_sent(snapshot(order, "SENT", MONDAY)), _sent(paid), _sent(paid, "duplicate")],
        state=State("paid"),
        events=[Event("order.pending", 1), Event("order.paid", 2)],
        facts=2,
    )


def _late_boleto() -> Chapter:
    order = _order(2)
    return Chapter(
        title="a boleto, given up and paid after all",
        root=_root(order),
        deliveries=[
            _sent(snapshot(order, "SENT", MONDAY - 100 * DAY)),
            _sent(snapshot(order, "LATE", MONDAY - 97 * DAY)),
            _sent(snapshot(order, "ABANDONED", MONDAY - 7 * DAY)),
            _sent(snapshot(order, "PAID", MONDAY)),
        ],
        state=State("paid", flags=("late_payment",)),
        events=[
            Event("order.pending", 1),
            Event("order.overdue", 2),
            Event("order.expired", 3),
            Event("order.paid", 4),
        ],
        facts=4,
    )


def _partial_refunds() -> Chapter:
    order = _order(3)
    items = [Refund(MONDAY + DAY, 1000), Refund(MONDAY + 2 * DAY, 550), Refund(MONDAY + 3 * DAY, 3040)]
    return Chapter(
        title="refunded in three parts, the first told late",
        root=_root(order),
        deliveries=[
            _sent(snapshot(order, "PAID", MONDAY)),
            _sent(snapshot(order, "PAID", MONDAY + 2 * DAY, refunds=items[:2])),
            _sent(snapshot(order, "PAID", MONDAY + DAY, refunds=items[:1]), "late"),
            _sent(snapshot(order, "REFUND", MONDAY + 3 * DAY, refunds=items)),
        ],
        state=State("refunded", refunded_cents=4590),
        events=[
            Event("order.paid", 1),
            Event("order.partially_refunded", 2),
            Event("order.amended", 3),
            Event("order.refunded", 4),
        ],
        facts=4,
    )


def _chargeback_won() -> Chapter:
    order = _order(4)
    return Chapter(
        title="a chargeback, won",
        root=_root(order),
        deliveries=[
            _sent(snapshot(order, "SENT", MONDAY)),
            _sent(snapshot(order, "PAID", MONDAY + 3 * MINUTE)),
            _sent(snapshot(order, "DISPUTE_ALERT", MONDAY + 2 * DAY)),
            _sent(snapshot(order, "DISPUTE", MONDAY + 3 * DAY)),
            _sent(snapshot(order, "CHARGEBACK", MONDAY + 6 * DAY)),
            _sent(snapshot(order, "PAID", MONDAY + 12 * DAY)),
        ],
        state=State("paid"),
        disputes=[State("won")],
        events=[
            Event("order.pending", 1),
            Event("order.paid", 2),
            Event("dispute.alerted", 3, 1),
            Event("order.disputed", 4),
            Event("dispute.open", 4, 1),
            Event("order.charged_back", 5),
            Event("dispute.charged_back", 5, 1),
            Event("order.paid", 6),
            Event("dispute.won", 6, 1),
        ],
        facts=6,
    )


def _refund_after_chargeback() -> Chapter:
    order = _order(5)
    items = [Refund(MONDAY + 9 * DAY, 4590)]
    return Chapter(
        title="refunded after its chargeback",
        root=_root(order),
        deliveries=[
            _sent(snapshot(order, "PAID", MONDAY)),
            _sent(snapshot(order, "CHARGEBACK", MONDAY + 8 * DAY)),
            _sent(snapshot(order, "REFUND", MONDAY + 9 * DAY, refunds=items)),
        ],
        state=State("refunded", refunded_cents=4590, flags=("refund_after_chargeback",)),
        disputes=[State("charged_back")],
        events=[
            Event("order.paid", 1),
            Event("order.charged_back", 2),
            Event("dispute.charged_back", 2, 1),
            Event("order.refunded", 3),
            Event("dispute.amended", 3, 1),
        ],
        facts=3,
    )


def _lost_by_decision() -> Chapter:
    order = _order(6)
    return Chapter(
        title="a dispute that an operator calls lost",
        root=_root(order),
        deliveries=[
            _sent(snapshot(order, "SENT", MONDAY)),
            _sent(snapshot(order, "PAID", MONDAY + 3 * MINUTE)),
            _sent(snapshot(order, "DISPUTE", MONDAY + 5 * DAY)),
        ],
        state=State("disputed"),
        disputes=[State("lost")],
        events=[
            Event("order.pending", 1),
            Event("order.paid", 2),
            Event("order.disputed", 3),
            Event("dispute.open", 3, 1),
            Event("dispute.lost", 4, 1),
        ],
        facts=4,
        decision="lost",
    )


def _at_a_terminal() -> Chapter:
    order = Order(_uuid(7), payer=None, reference=None, authorization="118822", domain="PHYSICAL_ORDER")
    return Chapter(
        title="paid at a terminal, by nobody known",
        root=_root(order),
        deliveries=[_sent(snapshot(order, "PAID", MONDAY + 5 * HOUR))],
        state=State("paid"),
        events=[Event("order.paid", 1)],
        facts=1,
    )


def _subscription() -> Chapter:
    subscription = Order(_uuid(8), person(8), "LJ-10008", domain="SUBSCRIPTION")
    active = snapshot(subscription, "ACTIVE", MONDAY + HOUR)
    return Chapter(
        title="a month in default, then paid again",
        root=f"barte:subscription:{subscription.uuid}",
        deliveries=[
            _sent(snapshot(subscription, "PENDING", MONDAY)),
            _sent(active),
            _sent(snapshot(subscription, "DEFAULTER", MONDAY + 10 * DAY)),
            _sent(active, "duplicate"),
            _sent(snapshot(subscription, "ACTIVE", MONDAY + 12 * DAY)),
        ],
        state=State("active"),
        events=[
            Event("subscription.pending", 1),
            Event("subscription.active", 2),
            Event("subscription.past_due", 3),
            Event("subscription.active", 4),
        ],
        facts=4,
    )


def _unknown_domain() -> Chapter:
    dispute = Order(_uuid(9), person(9), None, domain="DISPUTE")
    return Chapter(
        title="a domain that nobody documents",
        deliveries=[_sent(snapshot(dispute, "UNDER_REVIEW", MONDAY), "unknown")],
    )


def _forged() -> Chapter:
    return Chapter(
        title="a forged secret",
        deliveries=[_sent(snapshot(_order(10), "PAID", MONDAY), "forged")],
    )


def _order(number: int) -> Order:
    return Order(_uuid(number), person(number), f"LJ-{10_000 + number}", authorization="731904")


def _uuid(number: int) -> str:
    return Birth(_RUN, number, MONDAY).uuid(0xBA)


def _root(order: Order) -> str:
    return f"barte:order:{order.uuid}"


def _sent(notice: Notice, mutation: Mutation = "none") -> Delivery:
    return sent("barte", notice, mutation)
