"""The transition table of orders and payments: a status and a word in, a status and perhaps a flag out.

Every transition is applied; what is not ordinary raises the first flag that fits. The tables are those
of docs/providers/README.md, "Order transitions".
"""

from typing import Final, NamedTuple, get_args

from projections.states import FlagName, OrderStatus

ORDINARY: Final[dict[OrderStatus, frozenset[OrderStatus]]] = {
    "pending": frozenset(
        {"authorized", "partially_paid", "paid", "overdue", "rejected", "canceled", "expired"}
    ),
    "authorized": frozenset({"paid", "partially_paid", "canceled", "rejected"}),
    "partially_paid": frozenset(
        {"paid", "overdue", "partially_refunded", "refunded", "disputed", "charged_back"}
    ),
    "overdue": frozenset({"pending", "authorized", "paid", "partially_paid", "canceled", "expired"}),
    "rejected": frozenset(
        {"pending", "authorized", "overdue", "partially_paid", "paid", "canceled", "expired"}
    ),
    "expired": frozenset({"canceled"}),
    "canceled": frozenset(),
    "paid": frozenset({"partially_refunded", "refunded", "disputed", "charged_back"}),
    "disputed": frozenset({"paid", "partially_paid", "charged_back", "refunded", "partially_refunded"}),
    "charged_back": frozenset({"paid", "partially_paid", "disputed"}),
    "partially_refunded": frozenset({"refunded", "disputed", "charged_back"}),
    "refunded": frozenset(),
}

WITH_MONEY: Final = frozenset({"paid", "partially_paid", "partially_refunded", "disputed"})
"""Where a cancel word means that money goes back."""

SETTLED: Final = frozenset({"refunded", "charged_back"})
"""Where a cancel word changes nothing any more."""

_FLAGGED: Final[tuple[tuple[FlagName, frozenset[str], frozenset[str]], ...]] = (
    (
        "payment_notice_lost",
        frozenset({"pending", "authorized", "overdue", "rejected", "expired", "canceled"}),
        frozenset({"partially_refunded", "refunded", "disputed", "charged_back"}),
    ),
    ("late_payment", frozenset({"canceled", "expired"}), frozenset({"paid", "partially_paid"})),
    ("reopened", frozenset({"canceled", "expired"}), frozenset({"pending", "authorized", "overdue"})),
    ("refund_after_chargeback", frozenset({"charged_back"}), frozenset({"refunded", "partially_refunded"})),
    ("double_loss", frozenset({"refunded"}), frozenset({"disputed", "charged_back"})),
    (
        "paid_after_refund",
        frozenset({"refunded", "partially_refunded"}),
        frozenset({"paid", "partially_paid"}),
    ),
)


class Transition(NamedTuple):
    """What a word makes of a status."""

    status: OrderStatus
    flag: FlagName | None


def _transition(status: OrderStatus, word: OrderStatus) -> Transition:
    if word == "canceled" and status in WITH_MONEY:
        return Transition("refunded", "canceled_with_money")
    if word == "canceled" and status in SETTLED:
        return Transition(status, "canceled_after_settlement")
    if word == status or word in ORDINARY[status]:
        return Transition(word, None)
    for flag, before, after in _FLAGGED:
        if status in before and word in after:
            return Transition(word, flag)
    return Transition(word, "status_went_back")


TRANSITIONS: Final[dict[tuple[str, str], Transition]] = {
    (status, word): _transition(status, word)
    for status in get_args(OrderStatus)
    for word in get_args(OrderStatus)
}
"""Every cell: (status, word) → what becomes of it."""
