"""Barte: snapshots of orders, POS orders and subscriptions (docs/providers/barte.md).

A delivery has no event name and no order amount; `domain` says what it is about, `status` where that
stands, `dateTime`, local time without an offset, since when.
"""

import re
from typing import Any, Final

import msgspec

from projections.delivery import Delivery
from projections.facts import PRECEDENCE, Aggregate, Fact, Reading
from projections.providers.documents import Document, identity, payload, status_in, unknown_word, word_of
from projections.providers.instants import instant
from projections.providers.money import cents_of_reais, exactly, total
from projections.providers.payers import payer
from projections.providers.roots import root_name


class Metadata(msgspec.Struct, gc=False):
    """One of the seller's own references."""

    key: str
    value: str | None = None


class Refund(msgspec.Struct, gc=False):
    """What was given back, once."""

    amount: Any = None
    """Reais, two places; read apart, exactly."""
    date: Any = None
    status: Any = None


class Snapshot(msgspec.Struct, rename="camel", gc=False):
    """ORDER, PHYSICAL_ORDER and SUBSCRIPTION share one shape; what is not read here may be anything."""

    uuid: str
    domain: str
    status: str
    date_time: str | None = None
    document_buyer: str | None = None
    email_buyer: str | None = None
    metadata: list[Metadata] | None = None
    refunds: list[Refund] = []
    cards: list[Any] = []

    # At a terminal; by the documentation in snake_case, and perhaps in `cards[0]` instead.
    payment_type: Any = msgspec.field(default=None, name="payment_type")

    uuid_buyer: Any = None
    address: Any = None
    cnpj_seller: Any = None
    id_seller: Any = None
    authorization_code: Any = None
    authorization_nsu: Any = None


_AGGREGATES: Final[dict[str, Aggregate]] = {
    "ORDER": "order",
    "PHYSICAL_ORDER": "order",
    "SUBSCRIPTION": "subscription",
}

_STATUSES: Final[dict[Aggregate, dict[str, str]]] = {
    "order": {
        "SENT": "pending",
        "SCHEDULED": "pending",
        "PRE_AUTHORIZED": "authorized",
        "PARTIALLY_PAID": "partially_paid",
        "PAID": "paid",
        "PAID_MANUALLY": "paid",
        "LATE": "overdue",
        "ABANDONED": "expired",
        "EXPIRED": "expired",
        "FAILED": "rejected",
        "CANCELED": "canceled",
        "REFUND": "refunded",
        "CHARGEBACK": "charged_back",
        "DISPUTE": "disputed",
        "DISPUTE_ALERT": "alert",
    },
    "subscription": {
        "PENDING": "pending",
        "ACTIVE": "active",
        "DEFAULTER": "past_due",
        "INACTIVE": "inactive",
        "CANCELED": "inactive",
        "SUSPENDED": "inactive",
    },
}

_REFERENCE: Final = re.compile(r"pedido|order|refer|external", re.IGNORECASE)
"""Of `metadata`, what names the merchant's own order; other entries may name a person."""


def root_of(account: str, document: Document, _kind: str | None) -> str:
    """The root that the snapshot is about. Raises Unreadable."""
    return _about(account, document)[1]


def read(delivery: Delivery, document: Document, reading: Reading) -> Fact:
    """What the snapshot says. Raises Unreadable."""
    aggregate, root = _about(delivery.account, document)
    snapshot = payload(document, Snapshot)
    refunded_cents = _refunded_cents(delivery.body) if snapshot.refunds else None
    status = _status(aggregate, snapshot)
    if snapshot.date_time:
        occurred_at = instant(snapshot.date_time, "dateTime", zone=reading.barte_zone)
    else:
        occurred_at = delivery.recorded_at
    return Fact(
        identity=identity(
            document, snapshot.domain, snapshot.uuid, snapshot.status, snapshot.date_time or ""
        ),
        root=root,
        kind="order" if aggregate == "order" else "subscription",
        subject=snapshot.uuid,
        status=status,
        word=snapshot.status,
        precedence=PRECEDENCE[aggregate][status],
        occurred_at=occurred_at,
        occurred_text=snapshot.date_time or None,
        provider="barte",
        refunded_cents=refunded_cents if aggregate == "order" else None,
        refunded_unknown=aggregate == "order" and refunded_cents is None and bool(snapshot.refunds),
        reference=_reference(snapshot),
        method=_method(snapshot) if aggregate == "order" else None,
        channel="pos" if word_of(snapshot.domain) == "PHYSICAL_ORDER" else None,
        payer=payer(reading.payer_key, snapshot.document_buyer, snapshot.email_buyer),
    )


def _about(account: str, document: Document) -> tuple[Aggregate, str]:
    aggregate = _aggregate(document.get("domain"))
    return aggregate, root_name(account, aggregate, document.get("uuid"), "uuid")


def _aggregate(domain: object) -> Aggregate:
    word = word_of(domain) if isinstance(domain, str) else ""
    if word not in _AGGREGATES:
        raise unknown_word("domain", word)
    return _AGGREGATES[word]


def _status(aggregate: Aggregate, snapshot: Snapshot) -> str:
    status = status_in(_STATUSES[aggregate], snapshot.status, "status")
    # A partial refund leaves the word as it is: the list of refunds tells (barte.md, 5).
    return "partially_refunded" if status == "paid" and snapshot.refunds else status


def _refunded_cents(body: bytes) -> int | None:
    """Σ of the refunds, whatever their word; null where one of them has no amount."""
    refunds = exactly(body)["refunds"]
    return total(
        (cents_of_reais(refund.get("amount"), f"refunds[{n}].amount") for n, refund in enumerate(refunds)),
        "refunds",
    )


def _reference(snapshot: Snapshot) -> str | None:
    # Whatever its key says, what names the buyer is no reference: it would go out in events.
    buyer = snapshot.email_buyer, snapshot.document_buyer
    for entry in snapshot.metadata or ():
        if entry.value and entry.value not in buyer and _REFERENCE.search(entry.key):
            return entry.value
    return None


def _method(snapshot: Snapshot) -> str | None:
    card = snapshot.cards[0] if snapshot.cards else None
    for told in (snapshot.payment_type, card.get("payment_type") if isinstance(card, dict) else None):
        if isinstance(told, str) and told.strip():
            return told.strip().lower()
    return None
