"""A Gen delivery → what it says: a payment, an order (`invoice`), or a Bolepix charge.

The envelope is not documented; it is taken apart as docs/providers/gen.md, section 5, assumes.
"""

import re
from typing import Final

from tests.checker import facts, words
from tests.checker.facts import Fact, Reading, Row, When, carried, digest, key, latest
from tests.checker.values import (
    Object,
    Unreadable,
    bigint,
    child,
    children,
    instant,
    integer,
    needed,
    reais,
    text,
)


def read(row: Row, document: Object, reading: Reading) -> Fact:
    """What the delivery says. Raises Unreadable."""
    name, told = _event_name(document), _object(document)
    if name in words.BOLEPIX:
        return _charge(row, name, told, document)
    kind = _kind(name, told)
    if kind == "payment":
        return _payment(row, told, document)
    return _invoice(row, told, reading, document)


def _event_name(document: Object) -> str | None:
    for member in ("event", "type", "name", "event_type"):
        value = document.get(member)
        if isinstance(value, str) and (value in words.BOLEPIX or _NAME.fullmatch(value)):
            return value
    return None


def _object(document: Object) -> Object:
    data = document.get("data")
    within = data if isinstance(data, dict) else document
    # `data` may be the object, or hold it under its kind's name.
    if within is not data or not any(name in within for name in ("id", "invoiceId")):
        for name in ("payment", "order"):
            held = within.get(name)
            if isinstance(held, dict):
                return held
    return within


def _kind(name: str | None, told: Object) -> str:
    if name is not None:
        prefix = name.split(".")[0]
        if prefix not in ("PAYMENT", "ORDER"):
            raise Unreadable("event")
        return prefix.lower()
    if told.get("order_id") is not None:
        return "payment"
    if told.get("items") is not None:
        return "order"
    raise Unreadable("event")


def _payment(row: Row, told: Object, document: Object) -> Fact:
    identifier, word = needed(told, "id"), needed(told, "status")
    status = words.meaning(words.GEN, word)
    return Fact(
        root=facts.root(row.account, "order", needed(told, "order_id")),
        aggregate="order",
        provider=row.provider,
        form="payment",
        key=key("payment", identifier, word, told.get("updated_at")),
        digest=digest(told),
        subject=identifier,
        word=word,
        status=status,
        precedence=words.precedence("order", status),
        content=carried(
            total_cents=integer(told, "total_cents"),
            share_cents=_share(told),
            reference=text(told, "external_id"),
            method=_method(told),
        ),
        when=_latest(told, row, document, "updated_at", "inserted_at"),
    )


def _share(told: Object) -> int | None:
    """The part of the order's total that the payment covers: without shipping and additions."""
    subtotal, total = integer(told, "subtotal_cents"), integer(told, "total_cents")
    shipping, addition, discount = (
        integer(told, name) or 0 for name in ("shipping_cents", "addition_cents", "discount_cents")
    )
    if subtotal is not None or total is None:
        return subtotal
    return bigint(total - shipping - addition + discount, "total_cents")


def _method(told: Object) -> str | None:
    for name in ("pix", "bank_slip", "credit"):
        if isinstance(told.get(name), dict):
            return name
    return (text(told, "method") or "").lower() or None


def _invoice(row: Row, told: Object, reading: Reading, document: Object) -> Fact:
    identifier, word = needed(told, "id"), text(told, "status")
    customer = child(told, "customer")
    number = text(customer, "cpf") or text(customer, "cnpj")
    return Fact(
        root=facts.root(row.account, "order", identifier),
        aggregate="order",
        provider=row.provider,
        form="invoice",
        key=key("order", identifier, word, told.get("updated_at")),
        digest=digest(told),
        subject=identifier,
        word=word,
        precedence=-1,
        content=carried(amount_cents=_total(told), reference=text(told, "external_id"))
        | reading.payer(number, text(customer, "email"), text(customer, "phone")),
        when=_latest(told, row, document, "updated_at", "inserted_at"),
    )


def _total(told: Object) -> int | None:
    total = 0
    items = children(told, "items")
    for item in items or []:
        quantity, price = integer(item, "quantity"), integer(item, "unit_price_cents")
        if quantity is None or price is None:
            return None
        total += quantity * price
    return bigint(total, "items") if items else None


def _charge(row: Row, name: str, told: Object, document: Object) -> Fact:
    """Bolepix, beta: an order of its own."""
    identifier, sent = needed(told, "invoiceId"), text(told, "status")
    if name == "charge-create" and sent is not None and words.plain(sent) != "PENDING":
        raise Unreadable("status")
    status = words.BOLEPIX[name]
    return Fact(
        root=facts.root(row.account, "order", identifier),
        aggregate="order",
        provider=row.provider,
        key=key(name, identifier, sent, told.get("updatedAt")),
        digest=digest(told),
        subject=identifier,
        word=sent or name,
        status=status,
        precedence=words.BOLEPIX_CANCELED if status == "canceled" else words.precedence("order", status),
        content=carried(amount_cents=reais(told, "amount")),
        when=_first(told, row, document, "updatedAt", "insertedAt"),
    )


def _latest(told: Object, row: Row, document: Object, *names: str) -> When:
    dates = [date for name in names if (date := instant(told, name)) is not None]
    return latest(dates or _of_the_envelope(told, document), row.recorded_at)


def _first(told: Object, row: Row, document: Object, *names: str) -> When:
    dates = [date for name in names if (date := instant(told, name)) is not None]
    return latest(dates[:1] or _of_the_envelope(told, document), row.recorded_at)


def _of_the_envelope(told: Object, document: Object) -> list[int]:
    """What stands beside the object; its names are guessed (docs/providers/gen.md, 5)."""
    if told is document:
        return []
    named = (name for name in _ENVELOPE_DATES if isinstance(document.get(name), str) and document[name])
    return [at for name in named if (at := instant(document, name)) is not None][:1]


_ENVELOPE_DATES: Final = ("occurred_at", "created_at", "inserted_at", "updated_at", "timestamp", "date")
_NAME: Final = re.compile(r"[A-Z_]+\.[A-Z_]+")
