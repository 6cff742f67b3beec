"""Gen's deliveries: events of payments and orders, and Bolepix (docs/providers/gen.md)."""

from random import Random
from typing import Final, NamedTuple

import orjson

from service.simulation.notices import (
    DAY,
    HOUR,
    MINUTE,
    Birth,
    Life,
    Notice,
    Person,
    Weighted,
    seconds_text,
)

_MILLISECOND: Final = 1_000_000

_ORDER, _FIRST, _SECOND, _EVENT, _INVOICE = 0x0, 0x1, 0x2, 0x100, 0x3
"""What plays which role in the ids of a life."""


class Payment(NamedTuple):
    """What the snapshots of one payment share."""

    id: str
    order_id: str
    cents: int
    """The goods' part."""
    inserted: int
    """Instant, nanoseconds since the epoch."""
    method: str = "PIX"
    shipping_cents: int = 0
    reference: str | None = None


def payment(payment: Payment, status: str, instant: int, *, event_id: str) -> Notice:
    """The delivery that says that a payment is `status` since `instant`."""
    document = {
        "id": payment.id,
        "session_id": "sess-fake",
        "order_id": payment.order_id,
        "method": payment.method,
        "seller_id": "33333333-0000-4000-8000-000000000001",
        "marketplace_id": "44444444-0000-4000-8000-000000000001",
        "customer_id": "55555555-0000-4000-8000-000000000001",
        "subscription_id": None,
        "subtotal_cents": payment.cents,
        "discount_cents": 0,
        "addition_cents": 0,
        "shipping_cents": payment.shipping_cents,
        "total_cents": payment.cents + payment.shipping_cents,
        "status": status,
        "device": {},
        **_METHODS[payment.method],
        "external_id": payment.reference,
        "inserted_at": _utc(payment.inserted),
        "updated_at": _utc(instant),
    }
    event = "PAYMENT.CREATED" if instant == payment.inserted else f"PAYMENT.{status}"
    return _told(event_id, event, document, instant)


def order(
    order_id: str, items: dict[str, tuple[int, int]], payer: Person, instant: int, *, event_id: str
) -> Notice:
    """The delivery that tells of an order with `items`: description → quantity, unit price in cents."""
    document = {
        "id": order_id,
        "status": "PENDING",
        "items": [
            {"description": description, "quantity": quantity, "unit_price_cents": cents}
            for description, (quantity, cents) in items.items()
        ],
        "customer": {
            "name": payer.name,
            "email": payer.email,
            "cpf": payer.document,
            "phone": payer.phone,
            "birth_date": "1990-01-01",
            "address": _ADDRESS,
        },
        "methods": ["BANK_SLIP", "PIX"],
        "max_installments": 3,
        "external_id": f"LJ-{order_id[-6:]}",
        "inserted_at": _utc(instant),
        "updated_at": _utc(instant),
    }
    return _told(event_id, "ORDER.CREATED", document, instant)


def bolepix(event: str, invoice_id: str, cents: int, inserted: int, instant: int, *, event_id: str) -> Notice:
    """The delivery `charge-create`, `charge-in` or `charge-cancelled` of an invoice; its shape is assumed."""
    document: dict[str, object] = {
        "invoiceId": invoice_id,
        "status": "PENDING" if event == "charge-create" else None,
        # Decimal reais, as version 2 writes them.
        "amount": orjson.Fragment(f"{cents // 100}.{cents % 100:02}"),
        "insertedAt": _utc(inserted),
        "updatedAt": _utc(instant),
    }
    return _told(event_id, event, document, instant)


def life(rng: Random, birth: Birth) -> Life:
    """A life of an order and its payments, or of a Bolepix invoice."""
    course = _LIVES.draw(rng)
    cents, instant = rng.randrange(500, 200_000), _to_the_millisecond(birth.instant)
    if course.startswith("charge-"):
        yield from _bolepix_life(rng, birth, course, cents, instant)
        return
    order_id = birth.uuid(_ORDER)
    paid = {
        name: Payment(
            birth.uuid(role), order_id, cents, instant + role * MINUTE, method, 1500, birth.name(f"PG{role}-")
        )
        for name, role, method in (("1", _FIRST, "PIX"), ("2", _SECOND, "CREDIT"), ("B", _FIRST, "BANK_SLIP"))
    }
    for step, word in enumerate(course.split()):
        event_id = birth.uuid(_EVENT + step)
        if word == "ORDER":
            yield order(order_id, {"Caneca": (1, cents)}, birth.person, instant, event_id=event_id)
            continue
        which, _, status = word.partition(":")
        if status == _INSERTED[which]:
            instant = paid[which].inserted
        else:
            instant += _to_the_millisecond(_AFTER.get(status, MINUTE) * (0.5 + rng.random()))
        yield payment(paid[which], status, instant, event_id=event_id)


def unknown(birth: Birth) -> Notice:
    """A payment of a status that contains a word which opens disputes, and is none (gen.md, 5)."""
    unheard = Payment(birth.uuid(_FIRST), birth.uuid(_ORDER), 100, _to_the_millisecond(birth.instant))
    return payment(unheard, "CHARGEBACK_REVERSED", unheard.inserted + MINUTE, event_id=birth.uuid(_EVENT))


_LIVES: Final = Weighted(
    (25, "ORDER 1:PENDING 1:PAID"),
    (6, "1:PENDING 1:PAID"),
    (5, "ORDER B:PENDING B:PAID"),
    (3, "ORDER B:PENDING B:CANCELLED"),
    (5, "ORDER 2:PRE_AUTHORIZED 2:PAID"),
    (3, "ORDER 2:PRE_AUTHORIZED 2:CANCELLED"),
    (5, "ORDER 1:PENDING 2:PRE_AUTHORIZED 1:CANCELLED 2:PAID"),
    (3, "ORDER 1:PENDING 1:PAID 1:REVERSED"),
    (2, "ORDER 2:PRE_AUTHORIZED 2:PAID 2:CANCELLED"),
    (2, "ORDER 2:PRE_AUTHORIZED 2:PAID 2:DISPUTE 2:PAID"),
    (2, "ORDER 2:PRE_AUTHORIZED 2:PAID 2:CHARGEBACK"),
    (2, "ORDER 2:PRE_AUTHORIZED 2:REFUSED"),
    (6, "charge-create charge-in"),
    (2, "charge-create charge-cancelled"),
)

_INSERTED: Final = {"1": "PENDING", "B": "PENDING", "2": "PRE_AUTHORIZED"}
"""The status with which each payment begins."""

_AFTER: Final = {
    "PAID": 3 * MINUTE,
    "CANCELLED": HOUR,
    "REVERSED": 5 * DAY,
    "DISPUTE": 20 * DAY,
    "CHARGEBACK": 30 * DAY,
}

_METHODS: Final[dict[str, dict[str, object]]] = {
    "PIX": {
        "pix": {"brcode": "00020101FAKE-PIX-CODE6304ABCD", "expiration": "2026-11-04T02:59:59Z"},
        "credit": None,
    },
    "BANK_SLIP": {
        "bank_slip": {
            "id": "77777777-0000-4000-8000-000000000001",
            "bank_slip_id": "88888888-0000-4000-8000-000000000001",
            "bank": "0000",
            "barcode": "0" * 44,
            "typeful_line": "00000.00000 00000.000000 00000.000000 0 00000000009900",
            "issue_date": "2025-11-03",
            "expiration_date": "2025-11-10",
            "instructions": "Nao receber apos o vencimento",
            "print_link_html": "https://example.com/boleto.html",
            "print_link_pdf": "https://example.com/boleto.pdf",
            "acquirer_number": "0000000000001",
        },
        "credit": None,
    },
    "CREDIT": {
        "credit": {
            "installments": 3,
            "delay_capture": True,
            "save_card": False,
            "credit_card_id": "66666666-0000-4000-8000-000000000001",
            "credit_card": {"token": "tok-fake", "expiration_month": "12", "expiration_year": "30"},
        },
    },
}

_ADDRESS: Final = {
    "line1": "Rua Ficticia",
    "line2": "0",
    "line3": "",
    "neighborhood": "Centro",
    "city": "Goiania",
    "state": "GO",
    "country_code": "BR",
    "postal_code": "74000-000",
}


def _bolepix_life(rng: Random, birth: Birth, course: str, cents: int, inserted: int) -> Life:
    instant = inserted
    for step, event in enumerate(course.split()):
        if step:
            instant += _to_the_millisecond(HOUR * (0.5 + rng.random()))
        yield bolepix(
            event, birth.uuid(_INVOICE), cents, inserted, instant, event_id=birth.uuid(_EVENT + step)
        )


def _told(event_id: str, event: str, data: dict[str, object], instant: int) -> Notice:
    return Notice(instant, orjson.dumps({"id": event_id, "event": event, "data": data}))


def _to_the_millisecond(nanoseconds: float) -> int:
    return int(nanoseconds) // _MILLISECOND * _MILLISECOND


def _utc(instant: int) -> str:
    return f"{seconds_text(instant)}.{instant // _MILLISECOND % 1000:03}Z"
