"""Admin's chapters: payments in cents, whole seconds, a withdrawal (docs/providers/admin.md)."""

from collections.abc import Sequence

from service.demo.chapters import MONDAY, Chapter, Event, State, sent
from service.simulation.admin import Payment, Withdrawal, payment, withdrawal
from service.simulation.mixing import Delivery, Mutation
from service.simulation.notices import DAY, HOUR, MINUTE, Notice, person


def chapters() -> Sequence[Chapter]:
    """All of them, in the order of sending."""
    return (_told_twice(), _approval_comes_late(), _canceled_with_money(), _bounced_withdrawal())


def _told_twice() -> Chapter:
    pix = _payment(1, 15990)
    approved = payment(pix, "APPROVED", MONDAY + 2 * MINUTE)
    return Chapter(
        title="a PIX, of which two events say the same",
        root=_root(pix),
        deliveries=[
            _sent(payment(pix, "PENDING", MONDAY)),
            _sent(approved),
            _sent(approved, "duplicate"),
        ],
        state=State("paid", 15990),
        events=[Event("order.pending", 1), Event("order.paid", 2)],
        facts=2,
    )


def _approval_comes_late() -> Chapter:
    pix = _payment(2, 8900)
    return Chapter(
        title="charged back; that it was paid is told late",
        root=_root(pix),
        deliveries=[
            _sent(payment(pix, "CHARGEBACK", MONDAY + 9 * DAY)),
            _sent(payment(pix, "APPROVED", MONDAY + 2 * MINUTE), "late"),
        ],
        state=State("charged_back", 8900),
        disputes=[State("charged_back")],
        events=[
            Event("order.charged_back", 1),
            Event("dispute.charged_back", 1, 1),
            Event("order.amended", 2),
        ],
        facts=2,
    )


def _canceled_with_money() -> Chapter:
    pix = _payment(3, 4200)
    return Chapter(
        title="canceled after it was paid",
        root=_root(pix),
        deliveries=[
            _sent(payment(pix, "PENDING", MONDAY)),
            _sent(payment(pix, "APPROVED", MONDAY + MINUTE)),
            _sent(payment(pix, "CANCELED", MONDAY + HOUR)),
        ],
        state=State("refunded", 4200, flags=("canceled_with_money",)),
        events=[Event("order.pending", 1), Event("order.paid", 2), Event("order.refunded", 3)],
        facts=3,
    )


def _bounced_withdrawal() -> Chapter:
    paid_out = Withdrawal("wd_demo_0001", 250_000, MONDAY)
    return Chapter(
        title="approved, then bounced by the bank",
        root=f"admin:withdrawal:{paid_out.id}",
        deliveries=[
            _sent(withdrawal(paid_out, "PENDING", MONDAY)),
            _sent(withdrawal(paid_out, "APPROVED", MONDAY + 4 * HOUR)),
            _sent(withdrawal(paid_out, "REJECTED", MONDAY + DAY)),
        ],
        state=State("rejected", 250_000, flags=("decision_reversed",)),
        events=[
            Event("withdrawal.pending", 1),
            Event("withdrawal.approved", 2),
            Event("withdrawal.rejected", 3),
        ],
        facts=3,
    )


def _payment(number: int, cents: int) -> Payment:
    return Payment(f"pay_demo_{number:04}", cents, f"LJ-{20_000 + number}", person(20 + number), MONDAY)


def _root(pix: Payment) -> str:
    return f"admin:order:{pix.id}"


def _sent(notice: Notice, mutation: Mutation = "none") -> Delivery:
    return sent("admin", notice, mutation)
