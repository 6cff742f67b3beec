"""Gen (GenPag): events of payments and orders, and Bolepix invoices (docs/providers/gen.md).

The envelope is not documented, so it is found rather than demanded: an event's name, and the object
that it is about. A payment is a child of its order; an order event tells items, customer and total, and
its status word is kept but not trusted. A Bolepix invoice (beta) is an order of its own.
"""

import re
from typing import Any, Final, Literal, NamedTuple

import msgspec

from projections.delivery import Delivery
from projections.facts import (
    PRECEDENCE,
    PRECEDENCE_BOLEPIX_CANCELED,
    PRECEDENCE_WITHOUT_STATUS,
    Fact,
    Reading,
    Unreadable,
)
from projections.providers.documents import (
    Document,
    first_text,
    identity,
    payload,
    status_in,
    unknown_word,
    word_of,
)
from projections.providers.instants import instant, latest
from projections.providers.money import BigInt, Cents, cents_of_reais, exactly, total, within_bigint
from projections.providers.payers import payer
from projections.providers.roots import root_name


class Envelope(msgspec.Struct, gc=False):
    """What may stand around the object: all of it is assumed, and none is demanded."""

    id: Any = None
    """The event's, where it is not the object's."""
    event: Any = None
    type: Any = None
    name: Any = None
    event_type: Any = None
    data: Any = None
    payment: Any = None
    order: Any = None


class Payment(msgspec.Struct, gc=False):
    """A payment, as the API answers it."""

    id: str
    order_id: str
    status: str
    method: str | None = None
    pix: Any = None
    bank_slip: Any = None
    credit: Any = None
    subtotal_cents: Cents | None = None
    discount_cents: Cents | None = None
    addition_cents: Cents | None = None
    shipping_cents: Cents | None = None
    total_cents: Cents | None = None
    external_id: str | None = None
    """The merchant's id of the payment."""
    inserted_at: str | None = None
    updated_at: str | None = None
    subscription_id: Any = None
    customer_id: Any = None


class Item(msgspec.Struct, gc=False):
    """A line of an order."""

    quantity: BigInt | None = None
    unit_price_cents: Cents | None = None
    description: Any = None


class Customer(msgspec.Struct, gc=False):
    """Who ordered."""

    cpf: str | None = None
    cnpj: str | None = None
    email: str | None = None
    phone: str | None = None
    name: Any = None
    address: Any = None


class Order(msgspec.Struct, gc=False):
    """An order: the documented request; `id`, `status` and the dates are assumed."""

    id: str
    status: str | None = None
    items: list[Item] = []
    customer: Customer | None = None
    external_id: str | None = None
    """The merchant's id of the order."""
    inserted_at: str | None = None
    updated_at: str | None = None


class Invoice(msgspec.Struct, rename="camel", gc=False):
    """A Bolepix invoice, version 2; nearly all of it is assumed."""

    invoice_id: str
    status: str | None = None
    amount: Any = None
    """Reais; read apart, exactly."""
    inserted_at: str | None = None
    updated_at: str | None = None


_STATUSES: Final = {
    "PENDING": "pending",
    "PRE_AUTHORIZED": "authorized",
    "PAID": "paid",
    "CANCELLED": "canceled",
    "REVERSED": "reversed",
    "REFUSED": "rejected",
    "DENIED": "rejected",
    "FAILED": "rejected",
    "EXPIRED": "expired",
    "CHARGEBACK": "charged_back",
    "DISPUTE": "disputed",
}

_BOLEPIX: Final = {"charge-create": "pending", "charge-in": "paid", "charge-cancelled": "canceled"}

_NAMES: Final = ("event", "type", "name", "event_type")
_NAME: Final = re.compile(r"[A-Z_]+\.[A-Z_]+", re.ASCII)
_ENVELOPE_DATES: Final = ("occurred_at", "created_at", "inserted_at", "updated_at", "timestamp", "date")


_ROOT_FIELDS: Final = {"payment": "order_id", "order": "id", "invoice": "invoiceId"}
"""Of the thing that an event is about, the member that names the order."""


class _Told(NamedTuple):
    """The parts of an envelope."""

    kind: Literal["payment", "order", "invoice"]
    event: str
    thing: Document
    """What it is about."""
    envelope: Document


def root_of(account: str, document: Document, _kind: str | None) -> str:
    """The root that the event is about. Raises Unreadable."""
    return _root(account, _opened(document))


def read(delivery: Delivery, document: Document, reading: Reading) -> Fact:
    """What the event says. Raises Unreadable."""
    told = _opened(document)
    root = _root(delivery.account, told)
    match told.kind:
        case "payment":
            return _payment(delivery, told, root)
        case "order":
            return _order(delivery, told, root, reading)
        case "invoice":
            return _invoice(delivery, told, root)


def _opened(document: Document) -> _Told:
    event = _event(document)
    prefix = event.partition(".")[0]
    thing = _thing(document, prefix)
    if event in _BOLEPIX:
        return _Told("invoice", event, thing, document)
    if prefix == "PAYMENT" or (not event and thing.get("order_id") is not None):
        return _Told("payment", event, thing, document)
    if prefix == "ORDER" or (not event and thing.get("items") is not None):
        return _Told("order", event, thing, document)
    if event:
        raise unknown_word("event", event)
    raise Unreadable("event: neither an event's name nor a payment's or an order's members")


def _event(document: Document) -> str:
    """The event's name; empty where no member holds one."""
    for member in _NAMES:
        value = document.get(member)
        if isinstance(value, str) and (value in _BOLEPIX or _NAME.fullmatch(value)):
            return value
    return ""


def _thing(document: Document, prefix: str = "") -> Document:
    """`data`, or `payment` / `order`, or `data.payment` / `data.order`, or the whole (gen.md, 5).

    Of both, that of the event's category; without one, the payment.
    """
    names = ("order", "payment") if prefix == "ORDER" else ("payment", "order")
    data = document.get("data")
    if isinstance(data, dict):
        return data if "id" in data or "invoiceId" in data else _member(data, names) or data
    return _member(document, names) or document


def _member(holder: Document, names: tuple[str, ...]) -> Document | None:
    for name in names:
        value = holder.get(name)
        if isinstance(value, dict):
            return value
    return None


def _root(account: str, told: _Told) -> str:
    field = _ROOT_FIELDS[told.kind]
    return root_name(account, "order", told.thing.get(field), field)


def _payment(delivery: Delivery, told: _Told, root: str) -> Fact:
    payment = payload(told.thing, Payment)
    status = status_in(_STATUSES, payment.status, "status")
    occurred_at, occurred_text = latest(
        ("updated_at", payment.updated_at), ("inserted_at", payment.inserted_at)
    ) or _dated_by_envelope(delivery, told)
    return Fact(
        identity=identity(told.thing, "payment", payment.id, payment.status, payment.updated_at or ""),
        root=root,
        kind="payment",
        subject=_subject(payment.id),
        status=status,
        word=payment.status,
        precedence=PRECEDENCE["order"][status],
        occurred_at=occurred_at,
        occurred_text=occurred_text,
        provider="gen",
        amount_cents=payment.total_cents,
        reference=payment.external_id or None,
        method=_method(payment),
        subtotal_cents=_subtotal_cents(payment),
    )


def _order(delivery: Delivery, told: _Told, root: str, reading: Reading) -> Fact:
    order = payload(told.thing, Order)
    who = order.customer or Customer()
    occurred_at, occurred_text = latest(
        ("updated_at", order.updated_at), ("inserted_at", order.inserted_at)
    ) or _dated_by_envelope(delivery, told)
    return Fact(
        identity=identity(told.thing, "order", order.id, order.status or "", order.updated_at or ""),
        root=root,
        kind="order",
        subject=order.id,
        status=None,
        word=order.status or "",
        precedence=PRECEDENCE_WITHOUT_STATUS,
        occurred_at=occurred_at,
        occurred_text=occurred_text,
        provider="gen",
        amount_cents=total(map(_item_cents, order.items), "items"),
        reference=order.external_id or None,
        payer=payer(reading.payer_key, who.cpf or who.cnpj, who.email, who.phone),
    )


def _invoice(delivery: Delivery, told: _Told, root: str) -> Fact:
    invoice = payload(told.thing, Invoice)
    status = _BOLEPIX[told.event]
    if status == "pending" and invoice.status and word_of(invoice.status) != "PENDING":
        raise unknown_word("status", word_of(invoice.status))
    occurred_at, occurred_text = latest(
        ("updatedAt", invoice.updated_at or invoice.inserted_at)
    ) or _dated_by_envelope(delivery, told)
    return Fact(
        identity=identity(
            told.thing, told.event, invoice.invoice_id, invoice.status or "", invoice.updated_at or ""
        ),
        root=root,
        kind="order",
        subject=invoice.invoice_id,
        status=status,
        word=invoice.status or told.event,
        precedence=PRECEDENCE_BOLEPIX_CANCELED if status == "canceled" else PRECEDENCE["order"][status],
        occurred_at=occurred_at,
        occurred_text=occurred_text,
        provider="gen",
        amount_cents=cents_of_reais(_thing(exactly(delivery.body)).get("amount"), "amount"),
    )


def _dated_by_envelope(delivery: Delivery, told: _Told) -> tuple[int, str | None]:
    if told.envelope is not told.thing:
        for name in _ENVELOPE_DATES:
            text = first_text(told.envelope, name)
            if text is not None:
                return instant(text, name), text
    return delivery.recorded_at, None


def _subject(payment_id: str) -> str:
    if not payment_id.strip():
        raise Unreadable("id: empty")
    return payment_id


def _item_cents(item: Item) -> int | None:
    if item.quantity is None or item.unit_price_cents is None:
        return None
    return item.quantity * item.unit_price_cents


def _subtotal_cents(payment: Payment) -> int | None:
    if payment.subtotal_cents is not None or payment.total_cents is None:
        return payment.subtotal_cents
    beside = (payment.shipping_cents or 0) + (payment.addition_cents or 0) - (payment.discount_cents or 0)
    return within_bigint(payment.total_cents - beside, "total_cents")


def _method(payment: Payment) -> str | None:
    # The boleto's own documentation says PIX: what is there counts before what is named.
    for method in ("pix", "bank_slip", "credit"):
        if isinstance(getattr(payment, method), dict):
            return method
    return (payment.method or "").strip().lower() or None
