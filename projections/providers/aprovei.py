"""Aprovei: sales and abandoned carts (docs/providers/aprovei.md).

No member names the kind of a delivery and none says when a status changed: a sale carries the dates of
its creation, approval and refund (or chargeback), and all of its deliveries carry one token. The cart's
shape is assumed.
"""

import datetime as dt
import hashlib
from typing import Any, Final, Literal

import msgspec

from projections.delivery import Delivery
from projections.facts import PRECEDENCE, Fact, Reading, Unreadable
from projections.facts import Payer as Hashes
from projections.providers.documents import (
    Document,
    first_text,
    identity,
    payload,
    status_in,
)
from projections.providers.instants import instant, latest
from projections.providers.money import BigInt, Cents, total
from projections.providers.payers import payer
from projections.providers.roots import root_name


class Product(msgspec.Struct, gc=False):
    """A line of a sale or a cart; `code` is the merchant's, `amount` cents per unit."""

    code: str | None = None
    amount: Cents | None = None
    quantity: BigInt | None = None
    title: Any = None
    original_amount: Any = None


class Customer(msgspec.Struct, gc=False):
    """Who buys."""

    email: str | None = None
    cellphone: str | None = None
    identification_number: str | None = None
    full_name: Any = None


class Sale(msgspec.Struct, gc=False):
    """A new sale or a status update: the same members."""

    transaction_token: str
    payment_status: str
    transaction_amount: Cents | None = None
    external_code: str | None = None
    payment_type: str | None = None
    products: list[Product] = []
    customer: Customer | None = None
    date_created: str | None = None
    date_approved: str | None = None
    date_refunded: str | None = None
    """Of a refund or of a chargeback."""
    freight_amount: Any = None
    automatic_discount: Any = None
    customer_address: Any = None
    utms: Any = None


class Cart(msgspec.Struct, gc=False):
    """An abandoned cart; under which names its id and its address come is guessed."""

    products: list[Product] = []
    customer: Customer | None = None
    date_created: str | None = None

    cart_token: Any = None
    checkout_id: Any = None
    checkout_token: Any = None
    token: Any = None
    id: Any = None
    checkout_url: Any = None
    abandoned_checkout_url: Any = None
    recovery_url: Any = None
    url: Any = None


_STATUSES: Final = {
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

_DEFAULT: Final = "default"
"""The marker of the panel's default URL: carts can only come there."""
_CART_IDS: Final = ("cart_token", "checkout_id", "checkout_token", "transaction_token", "token", "id")
_CART_URLS: Final = ("checkout_url", "abandoned_checkout_url", "recovery_url", "url")
_CART_MEMBERS: Final = ("products", "customer", *_CART_URLS)
_DERIVED_ID_DIGITS: Final = 32
_SECOND_NS: Final = 1_000_000_000


def root_of(account: str, document: Document, kind: str | None) -> str:
    """The root that the delivery is about. Raises Unreadable."""
    return _about(account, document, kind)[1]


def read(delivery: Delivery, document: Document, reading: Reading) -> Fact:
    """What the delivery says. Raises Unreadable."""
    kind, root = _about(delivery.account, document, delivery.kind)
    if kind == "sale":
        return _sale(delivery, document, root, reading)
    return _cart(delivery, document, root, reading)


def _about(account: str, document: Document, marker: str | None) -> tuple[Literal["sale", "cart"], str]:
    kind = _kind(document, marker)
    if kind == "sale":
        return kind, root_name(account, "order", document.get("transaction_token"), "transaction_token")
    return kind, root_name(account, "cart", _cart_id(document), "cart_token")


def _kind(document: Document, marker: str | None) -> Literal["sale", "cart"]:
    if document.get("payment_status") is not None:
        return "sale"
    has_token = document.get("transaction_token") is not None
    if (marker == _DEFAULT or not has_token) and any(
        document.get(name) is not None for name in _CART_MEMBERS
    ):
        return "cart"
    raise Unreadable("payment_status: missing, and the delivery is no cart either")


def _sale(delivery: Delivery, document: Document, root: str, reading: Reading) -> Fact:
    sale = payload(document, Sale)
    status = status_in(_STATUSES, sale.payment_status, "payment_status")
    occurred_at, occurred_text = latest(
        ("date_created", sale.date_created),
        ("date_approved", sale.date_approved),
        ("date_refunded", sale.date_refunded),
    ) or (delivery.recorded_at, None)
    return Fact(
        identity=identity(
            document,
            sale.transaction_token,
            sale.payment_status,
            sale.date_approved or "",
            sale.date_refunded or "",
        ),
        root=root,
        kind="order",
        subject=sale.transaction_token,
        status=status,
        word=sale.payment_status,
        precedence=PRECEDENCE["order"][status],
        occurred_at=occurred_at,
        occurred_text=occurred_text,
        provider="aprovei",
        amount_cents=sale.transaction_amount,
        refunded_cents=sale.transaction_amount if status == "refunded" else None,
        reference=sale.external_code or None,
        method=(sale.payment_type or "").strip().lower() or None,
        payer=_payer(sale.customer, reading),
        products=_codes(sale.products),
        # Approved and given back at once: perhaps a chargeback that was won, which nothing dates.
        flag="possible_win" if status == "paid" and sale.date_refunded else None,
        win_dated=False,
    )


def _cart(delivery: Delivery, document: Document, root: str, reading: Reading) -> Fact:
    cart = payload(document, Cart)
    cart_id = root.split(":", 2)[2]
    occurred_at = instant(cart.date_created, "date_created") if cart.date_created else delivery.recorded_at
    return Fact(
        identity=identity(document, "cart", cart_id, cart.date_created or ""),
        root=root,
        kind="cart",
        subject=cart_id,
        status="abandoned",
        word="",
        precedence=PRECEDENCE["cart"]["abandoned"],
        occurred_at=occurred_at,
        occurred_text=cart.date_created or None,
        provider="aprovei",
        amount_cents=total(map(_line_cents, cart.products), "products"),
        payer=_payer(cart.customer, reading),
        products=_codes(cart.products),
        recovery_url=_without_query(first_text(document, *_CART_URLS)),
    )


def _cart_id(document: Document) -> str:
    """The cart's id, or one derived from what it holds: unkeyed, for a root may never change."""
    known = first_text(document, *_CART_IDS)
    if known is not None:
        return known
    cart = payload(document, Cart)
    email = ((cart.customer or Customer()).email or "").lower()
    codes = ",".join(sorted(product.code for product in cart.products if product.code))
    if not email and not codes:
        raise Unreadable(
            "cart_token: missing, and neither an e-mail nor a product's code to tell carts apart"
        )
    text = f"{email}|{codes}|{_utc_day(cart.date_created)}"
    return hashlib.sha256(text.encode()).hexdigest()[:_DERIVED_ID_DIGITS]


def _utc_day(date_created: str | None) -> str:
    if not date_created:
        return ""
    seconds = instant(date_created, "date_created") // _SECOND_NS
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).date().isoformat()


def _payer(customer: Customer | None, reading: Reading) -> Hashes | None:
    who = customer or Customer()
    return payer(reading.payer_key, who.identification_number, who.email, who.cellphone)


def _codes(products: list[Product]) -> tuple[str, ...] | None:
    return tuple(sorted({product.code for product in products if product.code})) or None


def _line_cents(product: Product) -> int | None:
    if product.amount is None or product.quantity is None:
        return None
    return product.amount * product.quantity


def _without_query(url: str | None) -> str | None:
    return None if url is None else url.partition("#")[0].partition("?")[0] or None
