"""The providers' words and what each means by itself: the mapping table of docs/providers/README.md."""

from typing import Final

from tests.checker.facts import ALERT, Aggregate
from tests.checker.values import Unreadable

_BARTE_ORDER: Final = {
    "SENT": "pending",
    "SCHEDULED": "pending",
    "PRE_AUTHORIZED": "authorized",
    "PARTIALLY_PAID": "partially_paid",
    "PAID": "paid",
    "PAID_MANUALLY": "paid",
    "LATE": "overdue",
    "ABANDONED": "expired",
    "EXPIRED": "expired",
    "CANCELED": "canceled",
    "FAILED": "rejected",
    "REFUND": "refunded",
    "CHARGEBACK": "charged_back",
    "DISPUTE": "disputed",
    "DISPUTE_ALERT": ALERT,
}
_BARTE_SUBSCRIPTION: Final = {
    "PENDING": "pending",
    "ACTIVE": "active",
    "DEFAULTER": "past_due",
    "INACTIVE": "inactive",
    "CANCELED": "inactive",
    "SUSPENDED": "inactive",
}
_ADMIN_PAYMENT: Final = {
    "PENDING": "pending",
    "APPROVED": "paid",
    "REJECTED": "rejected",
    "CANCELED": "canceled",
    "IN_DISPUTE": "disputed",
    "CHARGEBACK": "charged_back",
    "REFUNDED": "refunded",
}
_ADMIN_WITHDRAWAL: Final = {"PENDING": "pending", "APPROVED": "approved", "REJECTED": "rejected"}
_WITHDRAWAL_TYPES: Final = ("WITHDRAW", "SAQUE", "PAYOUT", "TRANSFER", "CASHOUT")
GEN: Final = {
    "PENDING": "pending",
    "PRE_AUTHORIZED": "authorized",
    "PAID": "paid",
    "CANCELLED": "canceled",
    "REVERSED": "refunded",
    "REFUSED": "rejected",
    "DENIED": "rejected",
    "FAILED": "rejected",
    "EXPIRED": "expired",
    "CHARGEBACK": "charged_back",
    "DISPUTE": "disputed",
}
BOLEPIX: Final = {"charge-create": "pending", "charge-in": "paid", "charge-cancelled": "canceled"}
BOLEPIX_CANCELED: Final = 26
"""Its place beside a payment in the same instant: the payment wins."""
APROVEI: Final = {
    "PENDING": "pending",
    "APPROVED": "paid",
    "REFUSED": "rejected",
    "REJECTED": "rejected",
    "DECLINED": "rejected",
    "FAILED": "rejected",
    "REFUNDED": "refunded",
    "CHARGEBACK": "charged_back",
    "CANCELED": "canceled",
    "CANCELLED": "canceled",
    "EXPIRED": "expired",
}

_PRECEDENCE: Final[dict[str, dict[str, int]]] = {
    "order": {
        "pending": 0,
        "authorized": 10,
        "overdue": 15,
        "partially_paid": 20,
        "rejected": 25,
        "expired": 27,
        "paid": 40,
        "canceled": 45,
        "partially_refunded": 50,
        ALERT: 55,
        "disputed": 60,
        "refunded": 70,
        "charged_back": 80,
    },
    "withdrawal": {"pending": 0, "approved": 40, "rejected": 45},
    "subscription": {"pending": 0, "active": 40, "past_due": 45, "inactive": 70},
}


def plain(word: str) -> str:
    """The word as it is matched."""
    return word.strip().upper()


def meaning(meanings: dict[str, str], word: str) -> str:
    """What `word` means. Raises Unreadable for one that nobody told us of."""
    try:
        return meanings[plain(word)]
    except KeyError:
        raise Unreadable("status") from None


def precedence(aggregate: Aggregate, status: str) -> int:
    """Which of two facts of one instant comes first."""
    return _PRECEDENCE[aggregate][status]


def barte(domain: str) -> tuple[Aggregate, dict[str, str]]:
    """What a domain is about, and its words."""
    if plain(domain) in ("ORDER", "PHYSICAL_ORDER"):
        return "order", _BARTE_ORDER
    if plain(domain) == "SUBSCRIPTION":
        return "subscription", _BARTE_SUBSCRIPTION
    raise Unreadable("domain")


def admin(kind: str | None, marker: str | None) -> tuple[Aggregate, dict[str, str]]:
    """What a type is about, and its words; the URL's marker is trusted above the type."""
    name = plain(kind or "")
    if marker != "withdraw" and name == "PAYMENT":
        return "order", _ADMIN_PAYMENT
    if marker == "withdraw" or any(word in name for word in _WITHDRAWAL_TYPES):
        return "withdrawal", _ADMIN_WITHDRAWAL
    raise Unreadable("type")
