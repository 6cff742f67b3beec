"""Barte's deliveries: snapshots of orders, POS orders and subscriptions (docs/providers/barte.md)."""

from collections.abc import Sequence
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

_LOCAL_TIME: Final = -3 * HOUR
"""America/Sao_Paulo, all year round."""


class Order(NamedTuple):
    """What the snapshots of one order or subscription share."""

    uuid: str
    payer: Person | None
    reference: str | None
    authorization: str | None = None
    domain: str = "ORDER"


class Refund(NamedTuple):
    """An item of `refunds`."""

    instant: int
    cents: int


def snapshot(order: Order, status: str, instant: int, *, refunds: Sequence[Refund] = ()) -> Notice:
    """The delivery that says that `order` is `status` since `instant`."""
    payer = order.payer
    document: dict[str, object] = {
        "uuid": order.uuid,
        "dateTime": local_time(instant),
        "status": status,
        "domain": order.domain,
        "uuidBuyer": None if payer is None else f"5c1d0e77-0000-4000-8000-0{payer.document}",
        "documentBuyer": None if payer is None else payer.document,
        "address": None if payer is None else _ADDRESS,
        "emailBuyer": None if payer is None else payer.email,
        "metadata": None if order.reference is None else [{"key": "pedido_loja", "value": order.reference}],
        "cnpjSeller": "11222333000181",
        "idSeller": 9001,
        "authorizationCode": order.authorization,
        "authorizationNsu": order.authorization,
        "cards": [],
        "refunds": [_refund(refund) for refund in refunds],
    }
    if order.domain == "PHYSICAL_ORDER":
        document |= _TERMINAL
    return Notice(instant, orjson.dumps(document))


def local_time(instant: int) -> str:
    """`2025-11-03T10:15:42.12`: no offset, as many digits as there are."""
    text, fraction = seconds_text(instant + _LOCAL_TIME), instant % SECOND
    return f"{text}.{fraction:09}".rstrip("0") if fraction else text


def life(rng: Random, birth: Birth) -> Life:
    """A life of an order, at a terminal or not, or of a subscription."""
    domain, course = _LIVES.draw(rng)
    order = Order(
        uuid=birth.uuid(0xBA),
        payer=None if domain == "PHYSICAL_ORDER" else birth.person,
        reference=None if domain == "PHYSICAL_ORDER" else birth.name("LJ-"),
        authorization=f"{rng.randrange(1_000_000):06}",
        domain=domain,
    )
    instant = birth.instant
    refunds: list[Refund] = []
    for word in course.split():
        status = word.rstrip("+")
        instant += int(_AFTER.get(status, MINUTE) * (0.5 + rng.random()))
        if status == "REFUND" or word.endswith("+"):
            refunds.append(Refund(instant, rng.randrange(100, 20_000)))
        yield snapshot(order, status, instant, refunds=refunds)


def unknown(birth: Birth) -> Notice:
    """A delivery of a domain that nobody documents (docs/providers/barte.md, 2, disputes)."""
    dispute = Order(uuid=birth.uuid(0xBF), payer=None, reference=None, domain="DISPUTE")
    return snapshot(dispute, "UNDER_REVIEW", birth.instant)


_LIVES: Final = Weighted(
    (30, ("ORDER", "SENT PAID")),
    (6, ("ORDER", "PAID")),
    (6, ("ORDER", "PRE_AUTHORIZED PAID")),
    (3, ("ORDER", "PRE_AUTHORIZED CANCELED")),
    (4, ("ORDER", "SENT LATE PAID")),
    (3, ("ORDER", "SENT LATE ABANDONED")),
    (1, ("ORDER", "SENT LATE ABANDONED PAID")),
    (3, ("ORDER", "SENT PARTIALLY_PAID PAID")),
    (3, ("ORDER", "SENT CANCELED")),
    (2, ("ORDER", "SENT PAID CANCELED")),
    (4, ("ORDER", "SENT PAID REFUND")),
    # A `+` is one more item in `refunds`: a partial refund leaves the status as it is.
    (3, ("ORDER", "SENT PAID PAID+ PAID+ REFUND")),
    (3, ("ORDER", "SENT PAID DISPUTE_ALERT DISPUTE PAID")),
    (2, ("ORDER", "SENT PAID DISPUTE CHARGEBACK")),
    (2, ("ORDER", "SENT PAID DISPUTE CHARGEBACK PAID")),
    (2, ("ORDER", "SENT PAID CHARGEBACK REFUND")),
    (1, ("ORDER", "SENT PAID REFUND CHARGEBACK")),
    (6, ("PHYSICAL_ORDER", "PAID")),
    (2, ("PHYSICAL_ORDER", "PAID REFUND")),
    (6, ("SUBSCRIPTION", "PENDING ACTIVE")),
    (4, ("SUBSCRIPTION", "PENDING ACTIVE DEFAULTER ACTIVE")),
    (3, ("SUBSCRIPTION", "PENDING ACTIVE DEFAULTER INACTIVE")),
    (1, ("SUBSCRIPTION", "PENDING ACTIVE INACTIVE ACTIVE")),
)

_AFTER: Final = {
    "PAID": 3 * MINUTE,
    "LATE": 3 * DAY,
    "ABANDONED": 90 * DAY,
    "CANCELED": HOUR,
    "REFUND": 5 * DAY,
    "DISPUTE_ALERT": 10 * DAY,
    "DISPUTE": 12 * DAY,
    "CHARGEBACK": 8 * DAY,
    "ACTIVE": HOUR,
    "DEFAULTER": 30 * DAY,
    "INACTIVE": 60 * DAY,
}

_ADDRESS: Final = {
    "country": "BR",
    "state": "SP",
    "city": "Campinas",
    "district": "Centro",
    "street": "Rua das Acacias",
    "zipCode": "13010000",
    "number": "250",
    "complement": "",
}

_TERMINAL: Final = {
    "serial_number": "POS-FAKE-000123",
    "pos_id": "pos-17",
    "brand": "visa",
    "holderName": "ANA EXEMPLO",
    "first4_digits": "4111",
    "last4_digits": "1111",
    "rate": 2.49,
    "payment_type": "CREDIT",
    "installments": 3,
}


def _refund(refund: Refund) -> dict[str, object]:
    return {
        "date": local_time(refund.instant)[:10],
        # Two places, as Barte writes reais; a float would lose them, and cents with it.
        "amount": orjson.Fragment(f"{refund.cents // 100}.{refund.cents % 100:02}"),
        "status": "REFUND",
    }
