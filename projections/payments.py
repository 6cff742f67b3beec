"""The status of an order that its provider does not tell: computed from its payments (gen.md, 5).

In: the snapshots of the payments in timeline order, and the order's total of the whole timeline. Out: after
each a status, and whether it had to be computed without an amount that matters. A snapshot costs the same
however many payments the order has.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from projections.course import Course
from projections.facts import INTEGER_MAX, Fact
from projections.states import OrderStatus, Payment


class Computed(msgspec.Struct, frozen=True, gc=False):
    """What the payments make of their order."""

    status: OrderStatus
    total_unknown: bool = False


class Payments:
    """The payments of one order after the snapshots taken so far."""

    def __init__(self, total_cents: int | None) -> None:
        self._total_cents = total_cents
        self._courses: dict[str, Course] = {}
        self._statuses: Counter[OrderStatus] = Counter()
        self._paid_now = _Sum()
        self._paid_once = _Sum()
        self._latest: Course | None = None

    @property
    def courses(self) -> Mapping[str, Course]:
        """The course of each payment by the provider's id, in order of appearance."""
        return self._courses

    def take(self, fact: Fact) -> str:
        """Take the next snapshot in timeline order; return the meaning of its word, as `Course.take` does."""
        course = self._courses.get(fact.subject)
        if course is None:
            course = self._courses[fact.subject] = Course()
        else:
            self._count(course, -1)
        meaning = course.take(fact)
        self._count(course, 1)
        if course.last is fact:
            self._latest = course
        return meaning

    def computed(self) -> Computed:
        """Return the first line that fits, (1) to (7) of docs/providers/gen.md, section 5."""
        statuses = self._statuses
        for contested in _CONTESTED:  # (1), (2)
            if statuses[contested]:
                return Computed(contested)
        if statuses["paid"] and (paid := self._while_money_is_there()):  # (3)
            return paid
        if self._paid_once.count:  # (4)
            return Computed("refunded")
        if statuses["authorized"]:  # (5)
            return Computed("authorized")
        if statuses["pending"] or self._latest is None:  # (6)
            return Computed("pending")
        return Computed(self._latest.status)  # (7)

    def _count(self, course: Course, by: int) -> None:
        self._statuses[course.status] += by
        subtotal = course.content.subtotal_cents
        if course.status == "paid":
            self._paid_now.count_in(subtotal, by)
        if course.ever_paid:
            self._paid_once.count_in(subtotal, by)

    def _while_money_is_there(self) -> Computed | None:
        """Line (3); null where the paid payments amount to nothing."""
        net, total = self._paid_now.total, self._total_cents
        if net is not None and net <= 0:
            return None
        if total is not None and net is not None:
            if net >= total:
                return Computed("paid")
            once = self._paid_once.total
            if once is not None:
                return Computed("partially_refunded" if once >= total else "partially_paid")
        # A payment that was paid and is not any more was given back: the measure that line (4) takes, too.
        given_back = self._paid_once.count > self._paid_now.count
        return Computed("partially_refunded" if given_back else "paid", total_unknown=True)


class _Sum:
    """A sum of amounts of which some may be unknown."""

    __slots__ = ("_known", "_unknown", "count")

    def __init__(self) -> None:
        self.count = 0
        self._known = 0
        self._unknown = 0

    def count_in(self, cents: int | None, by: int) -> None:
        """Add an amount (`by` is 1), or take it out again (-1)."""
        self.count += by
        if cents is None:
            self._unknown += by
        else:
            self._known += by * cents

    @property
    def total(self) -> int | None:
        """The sum in cents; null while one of the amounts is unknown."""
        return None if self._unknown else self._known


def paid_cents(payments: Collection[Course]) -> int | None:
    """Return what the payments that are paid now brought in; null where one of them does not say.

    Raises OverflowError beyond a bigint, which no store holds; each payment by itself is within.
    """
    paid = _Sum()
    for payment in payments:
        if payment.status == "paid":
            paid.count_in(payment.content.amount_cents, 1)
    if paid.total is not None and paid.total > INTEGER_MAX:
        raise OverflowError("the payments add up to more than a bigint")
    return paid.total


def payment(subject: str, course: Course) -> Payment:
    """Return the payment as the order's state lists it."""
    return Payment(
        id=subject,
        status=course.status,
        total_cents=course.content.amount_cents,
        reference=course.content.reference,
        method=course.content.method,
    )


_CONTESTED: Final[tuple[OrderStatus, ...]] = ("charged_back", "disputed")
