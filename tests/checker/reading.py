"""One row of the log → what it says, or Unreadable. From docs/providers alone.

Gen has a file of its own; so does the meaning of words, `words.py`.
"""

import datetime as dt
import hashlib
from collections.abc import Callable
from typing import Final

import orjson

from tests.checker import facts, reading_gen, words
from tests.checker.facts import Fact, Reading, Row, carried, digest, key, latest
from tests.checker.values import Object, Unreadable, child, children, instant, integer, needed, reais, text


def read(row: Row, reading: Reading) -> Fact:
    """What the delivery says. Raises Unreadable, also where it is about another root than its row."""
    try:
        document = orjson.loads(row.body)
    except orjson.JSONDecodeError:
        raise Unreadable("body") from None
    if not isinstance(document, dict) or row.provider not in _READERS:
        raise Unreadable("body")
    fact = _READERS[row.provider](row, document, reading)
    if fact.root != row.root:
        raise Unreadable("root")
    return fact


def _barte(row: Row, document: Object, reading: Reading) -> Fact:
    domain, word = needed(document, "domain"), needed(document, "status")
    identifier = needed(document, "uuid")
    aggregate, meanings = words.barte(domain)
    status = words.meaning(meanings, word)
    refunds = children(document, "refunds") or []
    content = carried(
        reference=_reference(
            children(document, "metadata", nullable=True) or [],
            buyer={text(document, "documentBuyer"), text(document, "emailBuyer")},
        ),
        method=_barte_method(document),
        channel="pos" if words.plain(domain) == "PHYSICAL_ORDER" else None,
    ) | reading.payer(text(document, "documentBuyer"), text(document, "emailBuyer"), None)
    if refunds:
        content["refunded_cents"] = _sum([reais(refund, "amount") for refund in refunds])
        status = "partially_refunded" if status == "paid" else status
    return Fact(
        root=facts.root(row.account, aggregate, identifier),
        aggregate=aggregate,
        provider=row.provider,
        key=key(domain, identifier, word, document.get("dateTime")),
        digest=digest(document),
        subject=identifier,
        word=word,
        status=status,
        precedence=words.precedence(aggregate, status),
        content=content,
        when=latest([instant(document, "dateTime", reading.zone)], row.recorded_at),
    )


def _reference(metadata: list[Object], buyer: set[str | None]) -> str | None:
    """The first entry whose key speaks of an order and that does not name the buyer."""
    for entry in metadata:
        name, value = needed(entry, "key").lower(), text(entry, "value")
        if value not in {None, *buyer} and any(
            word in name for word in ("pedido", "order", "refer", "external")
        ):
            return value
    return None


def _barte_method(document: Object) -> str | None:
    cards = children(document, "cards") or []
    method = text(document, "payment_type") or (text(cards[0], "payment_type") if cards else None)
    return method and method.lower()


def _sum(amounts: list[int | None]) -> int | None:
    """Null if one of them is."""
    known = [amount for amount in amounts if amount is not None]
    if len(known) < len(amounts):
        return None
    if abs(sum(known)) >= 2**63:
        raise Unreadable("refunds")
    return sum(known)


def _admin(row: Row, document: Object, reading: Reading) -> Fact:
    kind, word = text(document, "type"), needed(document, "status")
    identifier = needed(document, "id")
    aggregate, meanings = words.admin(kind, row.kind)
    status = words.meaning(meanings, word)
    payer, method = child(document, "payer"), child(document, "payment_method")
    updated_at = instant(document, "updated_at")
    content = carried(
        amount_cents=integer(document, "amount"),
        currency=(text(document, "currency") or "BRL").upper(),
        reference=text(document, "external_id"),
    )
    if aggregate == "order":
        content |= reading.payer(text(payer, "document"), text(payer, "email"), None)
        content |= carried(method=(text(method, "type") or "").lower() or None)
    return Fact(
        root=facts.root(row.account, aggregate, identifier),
        aggregate=aggregate,
        provider=row.provider,
        key=key(kind, identifier, word, document.get("updated_at")),
        digest=digest(document),
        subject=identifier,
        word=word,
        status=status,
        precedence=words.precedence(aggregate, status),
        content=content,
        # `updated_at` is the date; created_at alone is still a date that the delivery carries.
        when=latest(
            [updated_at if updated_at is not None else instant(document, "created_at")], row.recorded_at
        ),
    )


def _aprovei(row: Row, document: Object, reading: Reading) -> Fact:
    if text(document, "payment_status") is None:
        return _cart(row, document, reading)
    token, word = needed(document, "transaction_token"), needed(document, "payment_status")
    status = words.meaning(words.APROVEI, word)
    amount = integer(document, "transaction_amount")
    refunded_at = instant(document, "date_refunded")
    dates = [instant(document, "date_created"), instant(document, "date_approved"), refunded_at]
    content = carried(
        amount_cents=amount,
        refunded_cents=amount if status == "refunded" else None,
        reference=text(document, "external_code"),
        method=(text(document, "payment_type") or "").lower() or None,
        products=_codes(document),
    )
    return Fact(
        root=facts.root(row.account, "order", token),
        aggregate="order",
        provider=row.provider,
        key=key(token, word, document.get("date_approved"), document.get("date_refunded")),
        digest=digest(document),
        subject=token,
        word=word,
        status=status,
        precedence=words.precedence("order", status),
        content=content | _customer(document, reading),
        possible_win=status == "paid" and refunded_at is not None,
        when=latest(dates, row.recorded_at),
    )


def _cart(row: Row, document: Object, reading: Reading) -> Fact:
    if not _is_cart(document, row.kind):
        raise Unreadable("payment_status")
    created_at = instant(document, "date_created")
    url = next(filter(None, (text(document, name) for name in _ADDRESSES)), None)
    identifier = next(
        (value for name in _CART_IDS if isinstance(value := document.get(name), str) and value), None
    )
    if identifier is None:
        identifier = _derived_id(document)
    return Fact(
        root=facts.root(row.account, "cart", identifier),
        aggregate="cart",
        provider=row.provider,
        key=key(identifier, document.get("date_created")),
        digest=digest(document),
        subject=identifier,
        status="abandoned",
        content=carried(
            amount_cents=_worth(document),
            products=_codes(document),
            recovery_url=url and url.split("#")[0].split("?")[0],
        )
        | _customer(document, reading),
        when=latest([created_at], row.recorded_at),
    )


def _is_cart(document: Object, kind: str | None) -> bool:
    # Where the URL says that only carts lack a status, a token is the cart's own.
    if text(document, "transaction_token") is not None and kind != "default":
        return False
    return any(document.get(name) is not None for name in ("products", "customer", *_ADDRESSES))


def _derived_id(document: Object) -> str:
    email = (text(child(document, "customer"), "email") or "").lower()
    codes = sorted(_codes(document) or [])
    created_at = instant(document, "date_created")
    if not email and not codes:
        raise Unreadable("cart_token")
    day = "" if created_at is None else _day(created_at)
    return hashlib.sha256(f"{email}|{','.join(codes)}|{day}".encode()).hexdigest()[:32]


def _day(nanoseconds: int) -> str:
    return (dt.date(1970, 1, 1) + dt.timedelta(days=nanoseconds // 86_400_000_000_000)).isoformat()


def _codes(document: Object) -> list[str] | None:
    products = children(document, "products")
    if products is None:
        return None
    return sorted({code for product in products if (code := text(product, "code")) is not None}) or None


def _worth(document: Object) -> int | None:
    """Of a cart: Σ price times quantity, null if any is missing."""
    total = 0
    products = children(document, "products")
    for product in products or []:
        amount, quantity = integer(product, "amount"), integer(product, "quantity")
        if amount is None or quantity is None:
            return None
        total += amount * quantity
    return total if products else None


def _customer(document: Object, reading: Reading) -> dict[str, object]:
    customer = child(document, "customer")
    return reading.payer(
        text(customer, "identification_number"), text(customer, "email"), text(customer, "cellphone")
    )


def _operator(row: Row, document: Object, _: Reading) -> Fact:
    named, answers = needed(document, "root"), needed(document, "answers")
    decision = needed(document, "decision")
    pieces = named.split(":", 2)
    if decision not in ("lost", "closed") or len(pieces) < 3 or pieces[1] != "order":
        raise Unreadable("decision")
    return Fact(
        root=facts.root(*pieces),
        aggregate="order",
        provider=row.provider,
        form="decision",
        key=key(named, answers, decision, document.get("decided_at")),
        digest=digest(document),
        word=decision,
        status=decision,
        answers=answers,
        when=latest([instant(document, "decided_at")], row.recorded_at),
    )


_ADDRESSES: Final = ("checkout_url", "abandoned_checkout_url", "recovery_url", "url")
_CART_IDS: Final = ("cart_token", "checkout_id", "checkout_token", "transaction_token", "token", "id")

_READERS: Final[dict[str, Callable[[Row, Object, Reading], Fact]]] = {
    "barte": _barte,
    "admin": _admin,
    "gen": reading_gen.read,
    "aprovei": _aprovei,
    "operator": _operator,
}
