"""An order and its disputes, from the timeline of their root.

In: a timeline with snapshots of the order, or of its payments, and an operator's decisions. Out: the
order's state and its disputes. An order is of one of two kinds: its snapshots tell its status, or its
status is computed from its payments (Gen; docs/providers/gen.md, section 5).
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from projections.content import Content
from projections.course import Course
from projections.disputes import CONTESTED, Run, Turn, runs_of
from projections.facts import Fact
from projections.payments import Computed, Payments, paid_cents, payment
from projections.states import Began, DisputeState, Flag, OrderState, begin, in_order
from projections.timeline import Timeline

_OPERATOR: Final = "operator"


class _Followed(msgspec.Struct, frozen=True, gc=False):
    """What following the facts of an order, one by one, came to."""

    now: Computed
    content: Content
    flags: list[Flag]
    meanings: list[str]
    """Of each fact, what its word came to mean there; empty where it is no snapshot."""
    history: list[Began]
    payments: Mapping[str, Course] | None = None
    """By the provider's id, in order of appearance; null for an order that tells its own status."""


def order_of(timeline: Timeline) -> tuple[OrderState, tuple[DisputeState, ...]]:
    """The order that `timeline`, which has at least one fact, is about, and its disputes by ordinal."""
    facts = timeline.entries
    followed, runs, flags = _followed(facts)
    disputes = [run.state(timeline.root, ordinal, len(facts)) for ordinal, run in enumerate(runs, start=1)]
    return _state(timeline, followed, flags), tuple(disputes)


class Contest(NamedTuple):
    """A dispute, and what a decision on it has to name."""

    dispute: DisputeState
    last_key: str
    """Of its last contested fact."""


def contests_of(timeline: Timeline) -> tuple[Contest, ...]:
    """The disputes of the order that `timeline` is about, by ordinal; none without facts."""
    if not timeline.entries:
        return ()
    _, runs, _ = _followed(timeline.entries)
    return tuple(
        Contest(run.state(timeline.root, ordinal, len(timeline.entries)), run.facts[-1].key)
        for ordinal, run in enumerate(runs, start=1)
    )


def _followed(facts: Sequence[Fact]) -> tuple[_Followed, list[Run], list[Flag]]:
    # Gen's, whose snapshots of an order tell no status: a payment's does, or nothing yet.
    computing = [fact for fact in facts if fact.status is None or fact.kind == "payment"]
    followed = _follow_payments(facts) if computing else _follow(facts)
    decisions = [fact for fact in facts if fact.kind == "decision"]
    if not decisions and CONTESTED.keys().isdisjoint(followed.meanings):
        return followed, [], []  # Nearly all orders: what contests one means itself, whatever came before.
    turns = [Turn(*told) for told in zip(facts, followed.meanings, strict=True) if told[1]]
    return followed, *runs_of(turns, decisions)


def _follow(facts: Sequence[Fact]) -> _Followed:
    course = Course()
    meanings: list[str] = []
    history: list[Began] = []
    for fact in facts:
        meanings.append("" if fact.kind == "decision" else course.take(fact))
        begin(history, course.status, fact.occurred_at)
    return _Followed(Computed(course.status), course.content, course.flags, meanings, history)


def _follow_payments(facts: Sequence[Fact]) -> _Followed:
    payments = Payments(_total_cents(facts))
    content = Content()
    meanings: list[str] = []
    history: list[Began] = []
    now = Computed("pending")
    for fact in facts:
        meaning = ""
        if fact.kind != "decision" and fact.status is None:
            content.take(fact)
        elif fact.kind != "decision":
            content.take_circumstances(fact)
            meaning = payments.take(fact)
            now = payments.computed()
        meanings.append(meaning)
        begin(history, now.status, fact.occurred_at)
    courses = payments.courses
    flags = [flag for course in courses.values() for flag in course.flags]
    return _Followed(now, content, flags, meanings, history, courses)


def _total_cents(facts: Sequence[Fact]) -> int | None:
    """The order's total by its latest word on the items, which holds for the whole past as well."""
    for fact in reversed(facts):
        if fact.kind == "order" and fact.status is None and fact.amount_cents is not None:
            return fact.amount_cents
    return None


def _state(timeline: Timeline, followed: _Followed, dispute_flags: Sequence[Flag]) -> OrderState:
    account, _, order_id = timeline.root.split(":", 2)
    content, payments = followed.content, followed.payments
    return OrderState(
        root=timeline.root,
        account=account,
        order_id=order_id,
        provider=content.provider or _OPERATOR,
        status=followed.now.status,
        provider_status=content.word,
        amount_cents=content.amount_cents,
        refunded_cents=content.refunded_cents,
        paid_cents=None if payments is None else paid_cents(payments.values()),
        currency=content.currency,
        reference=content.reference,
        method=content.method,
        channel=content.channel,
        payer=content.payer,
        products=content.products,
        payments=None if payments is None else tuple(payment(*each) for each in payments.items()),
        total_unknown=followed.now.total_unknown,
        flags=in_order([*followed.flags, *dispute_flags]),
        history=tuple(followed.history),
        facts=len(timeline.entries),
    )
