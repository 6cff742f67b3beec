"""Aprovei's deliveries: sales and abandoned carts (docs/providers/aprovei.md)."""

from random import Random
from typing import Final, NamedTuple

import orjson

from service.simulation.notices import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Birth,
    Life,
    Notice,
    Person,
    Weighted,
    seconds_text,
)

DEFAULT: Final = "default"
"""The marker of the panel's default URL: carts can only come there (docs/providers/aprovei.md, 5)."""


class Product(NamedTuple):
    """A line of a sale or a cart."""

    title: str | None
    code: str
    cents: int
    quantity: int = 1


class Sale(NamedTuple):
    """What the deliveries of one sale share."""

    token: str
    payer: Person
    products: tuple[Product, ...]
    created: int
    """Instant, nanoseconds since the epoch."""
    reference: str | None = None
    freight_cents: int = 0
    discount_cents: int = 0

    @property
    def cents(self) -> int:
        goods = sum(product.cents * product.quantity for product in self.products)
        return goods + self.freight_cents - self.discount_cents


def sale(
    sale: Sale, status: str, instant: int, *, approved: int | None = None, refunded: int | None = None
) -> Notice:
    """The delivery that says that a sale is `status`; `instant` is in none of its members by itself."""
    document = {
        "transaction_token": sale.token,
        "external_code": sale.reference,
        "transaction_amount": sale.cents,
        "freight_amount": sale.freight_cents,
        "automatic_discount": sale.discount_cents,
        "products": _products(sale.products),
        "customer": _customer(sale.payer),
        "customer_address": _ADDRESS,
        "utms": _UTMS,
        "payment_status": status,
        "payment_type": "pix",
        "date_created": _utc(sale.created),
        "date_approved": None if approved is None else _utc(approved),
        "date_refunded": None if refunded is None else _utc(refunded),
    }
    return Notice(instant, orjson.dumps(document))


def cart(token: str, payer: Person, products: tuple[Product, ...], instant: int) -> Notice:
    """The delivery that tells of a cart abandoned at `instant`; its shape is assumed."""
    document = {
        "cart_token": token,
        "checkout_url": f"https://example.com/checkout/{token}",
        "products": _products(products),
        "customer": _customer(payer),
        "utms": _UTMS,
        "date_created": _utc(instant),
    }
    return Notice(instant, orjson.dumps(document), DEFAULT)


def life(rng: Random, birth: Birth) -> Life:
    """A life of a sale, of a cart, or of a cart that the same payer comes back to."""
    course = _LIVES.draw(rng).split()
    products = (
        Product("Livro de receitas", f"SKU-{rng.randrange(500):03}", rng.randrange(500, 50_000), 2),
        Product(None, "SKU-MK", 2500),
    )
    instant = birth.instant // SECOND * SECOND
    if course[0] == "cart":
        yield cart(birth.name("CART"), birth.person, products, instant)
        instant += _jittered(rng, DAY)
    sold = Sale(
        birth.name("APV"),
        birth.person,
        products,
        instant,
        birth.name("LJ-"),
        freight_cents=1500,
        discount_cents=500,
    )
    approved = refunded = None
    for status in course:
        if status == "cart":
            continue
        if status != "pending":
            instant += _jittered(rng, _AFTER.get(status, MINUTE))
        if status == "approved":
            approved = approved or instant
        if status in {"refunded", "chargeback"}:
            # A chargeback may keep the refund's date: then precedence decides (aprovei.md, 5).
            refunded = refunded or instant
        yield sale(sold, status, instant, approved=approved, refunded=refunded)


def unknown(birth: Birth) -> Notice:
    """A sale of a status that is not in the vocabulary."""
    unheard = Sale(birth.name("APVUNKNOWN"), birth.person, (Product(None, "SKU-MK", 2500),), birth.instant)
    return sale(unheard, "in_analysis", birth.instant)


_LIVES: Final = Weighted(
    (30, "pending approved"),
    (4, "approved"),
    (5, "pending refused"),
    (3, "pending expired"),
    (4, "pending approved refunded"),
    (2, "pending approved chargeback"),
    (1, "pending approved refunded chargeback"),
    # An approval that carries `date_refunded`: a win that cannot be dated.
    (1, "pending approved chargeback approved"),
    (8, "cart"),
    (6, "cart pending approved"),
)

_AFTER: Final = {
    "approved": 4 * MINUTE,
    "expired": DAY,
    "refunded": 4 * DAY,
    "chargeback": 30 * DAY,
    "refused": HOUR,
}

_ADDRESS: Final = {
    "zip_code": "01000-000",
    "street": "Rua Inventada",
    "number": "77",
    "neighborhood": "Centro",
    "city": "Sao Paulo",
    "state": "SP",
    "complement": "",
    "country": "BR",
}

_UTMS: Final = {
    "src": "site",
    "utm_source": "newsletter",
    "utm_medium": "email",
    "utm_campaign": "campanha-ficticia",
    "utm_content": None,
    "utm_term": None,
}


def _products(products: tuple[Product, ...]) -> list[dict[str, object]]:
    return [
        {
            "title": product.title,
            "code": product.code,
            "amount": product.cents,
            "quantity": product.quantity,
            "original_amount": product.cents,
        }
        for product in products
    ]


def _customer(payer: Person) -> dict[str, object]:
    return {
        "full_name": payer.name,
        "email": payer.email,
        "cellphone": payer.phone,
        "identification_number": payer.document,
    }


def _jittered(rng: Random, nanoseconds: int) -> int:
    return int(nanoseconds * (0.5 + rng.random())) // SECOND * SECOND


def _utc(instant: int) -> str:
    return seconds_text(instant) + "Z"
