"""One subject's snapshots, in order → the status after each, and the flags: the transition tables.

From docs/providers/README.md, section 2. Disputes are runs of contested snapshots in such a course.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from tests.checker.facts import ALERT, Fact
from tests.checker.words import plain

_ORDINARY: Final[dict[str, str]] = {
    "pending": "authorized partially_paid paid overdue rejected canceled expired",
    "authorized": "paid partially_paid canceled rejected",
    "partially_paid": "paid overdue partially_refunded refunded disputed charged_back",
    "overdue": "pending authorized paid partially_paid canceled expired",
    "rejected": "pending authorized overdue partially_paid paid canceled expired",
    "expired": "canceled",
    "canceled": "",
    "paid": "partially_refunded refunded disputed charged_back",
    "disputed": "paid partially_paid charged_back refunded partially_refunded",
    "charged_back": "paid partially_paid disputed",
    "partially_refunded": "partially_refunded refunded disputed charged_back",
    "refunded": "",
}
_FLAGS: Final = (
    (
        "payment_notice_lost",
        "pending authorized overdue rejected expired canceled",
        "partially_refunded refunded disputed charged_back",
    ),
    ("late_payment", "canceled expired", "paid partially_paid"),
    ("reopened", "canceled expired", "pending authorized overdue"),
    ("refund_after_chargeback", "charged_back", "refunded partially_refunded"),
    ("double_loss", "refunded", "disputed charged_back"),
    ("paid_after_refund", "refunded partially_refunded", "paid partially_paid"),
)
_WITH_MONEY: Final = ("paid", "partially_paid", "partially_refunded", "disputed")
_SETTLED: Final = ("refunded", "charged_back")
_MONEY_MOVED: Final = {*_WITH_MONEY, *_SETTLED}
CONTESTED: Final = (ALERT, "disputed", "charged_back")
PAID_LIKE: Final = ("paid", "partially_paid")
GIVEN_BACK: Final = ("refunded", "partially_refunded")


class Flag(NamedTuple):
    """Something a human should look at; equal ones are one."""

    name: str
    occurred_at: int


class Step(NamedTuple):
    """A snapshot and what it made of its subject."""

    fact: Fact
    own: str
    """What its word means, in the light of what came before."""
    before: str
    after: str
    flags: tuple[Flag, ...]


def course(snapshots: Sequence[Fact]) -> list[Step]:
    """The steps of one subject whose snapshots are sorted."""
    steps: list[Step] = []
    for fact in snapshots:
        before = steps[-1].after if steps else "pending"
        own = _own(fact, steps)
        after, flag = _transition(before, own, steps)
        names = [] if flag is None else [flag]
        if fact.possible_win and not (steps and same(steps[-1].fact, fact)):
            names.append("possible_win")
        flags = tuple(Flag(name, fact.occurred_at) for name in names)
        steps.append(Step(fact, own, before, after, flags))
    return steps


def _own(fact: Fact, steps: Sequence[Step]) -> str:
    assert fact.status is not None
    if fact.form == "payment" and plain(fact.word or "") == "REVERSED":
        seen = {step.after for step in steps}
        if "authorized" in seen and not seen & _MONEY_MOVED:
            return "canceled"
    return fact.status


def _transition(before: str, own: str, steps: Sequence[Step]) -> tuple[str, str | None]:
    """The status after the snapshot, and the flag it raises."""
    # The same word again changes content at most: a cancel that became a refund is not a second cancel.
    if own in (ALERT, before) or (steps and steps[-1].own == own):
        return before, None
    if own == "canceled" and before in _WITH_MONEY:
        return "refunded", "canceled_with_money"
    if own == "canceled" and before in _SETTLED:
        return before, "canceled_after_settlement"
    return own, _flag(before, own)


def _flag(before: str, after: str) -> str | None:
    if after in _ORDINARY[before].split():
        return None
    for name, left, reached in _FLAGS:
        if before in left.split() and after in reached.split():
            return name
    return "status_went_back"


def same(fact: Fact, next_one: Fact) -> bool:
    """Whether two snapshots that follow each other say the same, so that they count as one."""
    if plain(fact.word or "") != plain(next_one.word or ""):
        return False
    # The date that makes a win possible is something that an earlier approval did not say.
    return fact.content == next_one.content and fact.possible_win == next_one.possible_win
