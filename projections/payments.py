"""The status of an order that its provider does not tell: computed from its payments (gen.md, 5).

In: the course of each payment so far, and the order's total of the whole timeline. Out: a status, and
whether it had to be computed without an amount that matters.
"""

from collections.abc import Collection

import msgspec

from projections.course import Course
from projections.facts import INTEGER_MAX
from projections.states import OrderStatus, Payment
from projections.timeline import sort_key


class Computed(msgspec.Struct, frozen=True, gc=False):
    """What the payments make of their order."""

    status: OrderStatus
    total_unknown: bool = False


def computed(payments: Collection[Course], total_cents: int | None) -> Computed:
    """The first line that fits, (1) to (7) of docs/providers/gen.md, section 5."""
    statuses = {payment.status for payment in payments}
    for contested in ("charged_back", "disputed"):  # (1), (2)
        if contested in statuses:
            return Computed(contested)
    if "paid" in statuses and (paid := _while_money_is_there(payments, total_cents)):  # (3)
        return paid
    if any(payment.ever_paid for payment in payments):  # (4)
        return Computed("refunded")
    if "authorized" in statuses:  # (5)
        return Computed("authorized")
    if "pending" in statuses or not payments:  # (6)
        return Computed("pending")
    return Computed(max(payments, key=_told_last).status)  # (7)


def paid_cents(payments: Collection[Course]) -> int | None:
    """What the payments that are paid now brought in; null where one of them does not say.

    Raises OverflowError beyond a bigint, which no store holds; each payment by itself is within.
    """
    paid = _sum([payment.content.amount_cents for payment in payments if payment.status == "paid"])
    if paid is not None and paid > INTEGER_MAX:
        raise OverflowError("the payments add up to more than a bigint")
    return paid


def payment(subject: str, course: Course) -> Payment:
    """The payment as the order's state lists it."""
    return Payment(
        id=subject,
        status=course.status,
        total_cents=course.content.amount_cents,
        reference=course.content.reference,
        method=course.content.method,
    )


def _while_money_is_there(payments: Collection[Course], total_cents: int | None) -> Computed | None:
    """Line (3); null where the paid payments amount to nothing."""
    net = _sum([payment.content.subtotal_cents for payment in payments if payment.status == "paid"])
    if net is not None and net <= 0:
        return None
    if total_cents is not None and net is not None:
        if net >= total_cents:
            return Computed("paid")
        once = _sum([payment.content.subtotal_cents for payment in payments if payment.ever_paid])
        if once is not None:
            return Computed("partially_refunded" if once >= total_cents else "partially_paid")
    # Given back is what was paid and is not any more: the measure that line (4) takes, too.
    given_back = any(payment.ever_paid and payment.status != "paid" for payment in payments)
    return Computed("partially_refunded" if given_back else "paid", total_unknown=True)


def _sum(amounts: list[int | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def _told_last(payment: Course) -> tuple[int, int, int, str]:
    assert payment.last is not None
    return sort_key(payment.last)
