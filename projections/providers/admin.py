"""Admin (Bravive Payments): snapshots of payments and withdrawals (docs/providers/admin.md).

The event's name is not in the body: `type` and `status` say what arrived, the URL's marker
(`?kind=withdraw`) which of the two it is about. The withdrawal's shape is assumed.
"""

import re
from typing import Any, Final

import msgspec

from projections.delivery import Delivery
from projections.facts import PRECEDENCE, Aggregate, Fact, Reading, Unreadable
from projections.providers.documents import (
    Document,
    identity,
    payload,
    status_in,
    unknown_word,
    word_of,
)
from projections.providers.instants import instant
from projections.providers.money import Cents
from projections.providers.payers import payer
from projections.providers.roots import root_name


class Payer(msgspec.Struct, gc=False):
    """Who pays; the document may be formatted or not."""

    name: Any = None
    email: str | None = None
    document: str | None = None


class PaymentMethod(msgspec.Struct, gc=False):
    """How."""

    type: str | None = None
    details: Any = None


class Snapshot(msgspec.Struct, gc=False):
    """A payment; a withdrawal has the same members without the last two."""

    id: str
    status: str
    type: str | None = None
    amount: Cents | None = None
    currency: str | None = None
    external_id: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    payer: Payer | None = None
    payment_method: PaymentMethod | None = None


_STATUSES: Final[dict[Aggregate, dict[str, str]]] = {
    "order": {
        "PENDING": "pending",
        "APPROVED": "paid",
        "REJECTED": "rejected",
        "CANCELED": "canceled",
        "IN_DISPUTE": "disputed",
        "CHARGEBACK": "charged_back",
        "REFUNDED": "refunded",
    },
    "withdrawal": {"PENDING": "pending", "APPROVED": "approved", "REJECTED": "rejected"},
}

_WITHDRAW: Final = "withdraw"
"""The marker of the URL that is registered for withdrawal events."""
_WITHDRAWALS: Final = re.compile("WITHDRAW|SAQUE|PAYOUT|TRANSFER|CASHOUT")
_CURRENCY: Final = re.compile("[A-Z]{3}")
_DEFAULT_CURRENCY: Final = "BRL"


def root_of(account: str, document: Document, kind: str | None) -> str:
    """The root that the snapshot is about. Raises Unreadable."""
    return _about(account, document, kind)[1]


def read(delivery: Delivery, document: Document, reading: Reading) -> Fact:
    """What the snapshot says. Raises Unreadable."""
    aggregate, root = _about(delivery.account, document, delivery.kind)
    snapshot = payload(document, Snapshot)
    status = status_in(_STATUSES[aggregate], snapshot.status, "status")
    occurred_at, occurred_text = _occurred(snapshot, delivery)
    who = snapshot.payer or Payer()
    return Fact(
        identity=identity(
            document, snapshot.type or "", snapshot.id, snapshot.status, snapshot.updated_at or ""
        ),
        root=root,
        kind="order" if aggregate == "order" else "withdrawal",
        subject=snapshot.id,
        status=status,
        word=snapshot.status,
        precedence=PRECEDENCE[aggregate][status],
        occurred_at=occurred_at,
        occurred_text=occurred_text,
        provider="admin",
        amount_cents=snapshot.amount,
        currency=_currency(snapshot),
        reference=snapshot.external_id or None,
        method=_method(snapshot),
        payer=payer(reading.payer_key, who.document, who.email),
    )


def _about(account: str, document: Document, kind: str | None) -> tuple[Aggregate, str]:
    aggregate = _aggregate(document.get("type"), kind)
    return aggregate, root_name(account, aggregate, document.get("id"), "id")


def _aggregate(type_: object, kind: str | None) -> Aggregate:
    if kind == _WITHDRAW:
        return "withdrawal"
    if type_ is None:
        raise Unreadable("type: missing")
    if not isinstance(type_, str):
        raise Unreadable("type: expected str")
    word = word_of(type_)
    if word == "PAYMENT":
        return "order"
    if _WITHDRAWALS.search(word):
        return "withdrawal"
    raise unknown_word("type", word)


def _occurred(snapshot: Snapshot, delivery: Delivery) -> tuple[int, str | None]:
    # A change without its own date happened no earlier than the creation.
    for field, text in (("updated_at", snapshot.updated_at), ("created_at", snapshot.created_at)):
        if text:
            return instant(text, field), text
    return delivery.recorded_at, None


def _currency(snapshot: Snapshot) -> str:
    currency = (snapshot.currency or _DEFAULT_CURRENCY).strip().upper()
    if not _CURRENCY.fullmatch(currency):
        raise Unreadable("currency: expected three letters (ISO 4217)")
    return currency


def _method(snapshot: Snapshot) -> str | None:
    told = snapshot.payment_method
    return told.type.strip().lower() or None if told is not None and told.type else None
