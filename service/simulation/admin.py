"""Admin's deliveries: snapshots of payments and withdrawals (docs/providers/admin.md)."""

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

WITHDRAW: Final = "withdraw"
"""The marker of the URL that is registered for withdrawal events (docs/providers/admin.md, 5)."""


class Payment(NamedTuple):
    """What the snapshots of one payment share."""

    id: str
    cents: int
    reference: str | None
    payer: Person
    created: int
    """Instant, nanoseconds since the epoch."""


class Withdrawal(NamedTuple):
    """What the snapshots of one withdrawal share."""

    id: str
    cents: int
    created: int
    """Instant, nanoseconds since the epoch."""


def payment(payment: Payment, status: str, instant: int) -> Notice:
    """The delivery that says that a payment is `status` since `instant`."""
    digits = payment.payer.document
    document = {
        "id": payment.id,
        "type": "PAYMENT",
        "status": status,
        "amount": payment.cents,
        "currency": "BRL",
        "external_id": payment.reference,
        "created_at": _utc(payment.created),
        "updated_at": _utc(instant),
        "payer": {
            "name": payment.payer.name,
            "email": payment.payer.email,
            "document": f"{digits[:3]}.{digits[3:6]}.{digits[6:9]}-{digits[9:]}",
        },
        "payment_method": {"type": "PIX", "details": {}},
    }
    return Notice(instant, orjson.dumps(document))


def withdrawal(withdrawal: Withdrawal, status: str, instant: int) -> Notice:
    """The delivery that says that a withdrawal is `status` since `instant`; its shape is assumed."""
    document = {
        "id": withdrawal.id,
        "type": "WITHDRAW",
        "status": status,
        "amount": withdrawal.cents,
        "currency": "BRL",
        "external_id": None,
        "created_at": _utc(withdrawal.created),
        "updated_at": _utc(instant),
    }
    return Notice(instant, orjson.dumps(document), WITHDRAW)


def life(rng: Random, birth: Birth) -> Life:
    """A life of a payment or of a withdrawal."""
    kind, course = _LIVES.draw(rng)
    instant, cents = birth.instant, rng.randrange(500, 500_000)
    paying = Payment(birth.name("pay_"), cents, birth.name("LJ-"), birth.person, instant)
    withdrawing = Withdrawal(birth.name("wd_"), cents, instant)
    for word in course.split():
        status = word.rstrip("=")
        if status != "PENDING":
            instant += int(_AFTER.get(status, HOUR) * (0.5 + rng.random())) // SECOND * SECOND
        notice = (
            payment(paying, status, instant)
            if kind == "payment"
            else withdrawal(withdrawing, status, instant)
        )
        yield notice
        if word.endswith("="):
            yield notice


def unknown(birth: Birth) -> Notice:
    """A payment of a status that is not in the vocabulary."""
    unheard = Payment(birth.name("pay_unknown_"), 100, None, birth.person, birth.instant)
    return payment(unheard, "ON_HOLD", birth.instant)


_LIVES: Final = Weighted(
    (30, ("payment", "PENDING APPROVED")),
    # A `=` comes twice: `on_transaction_approved` and `…_updated` say the same (admin.md, 2).
    (8, ("payment", "PENDING APPROVED=")),
    (5, ("payment", "PENDING REJECTED")),
    (4, ("payment", "PENDING CANCELED")),
    (2, ("payment", "PENDING CANCELED APPROVED")),
    (4, ("payment", "PENDING APPROVED REFUNDED")),
    (1, ("payment", "PENDING APPROVED CANCELED")),
    (3, ("payment", "PENDING APPROVED IN_DISPUTE APPROVED")),
    (3, ("payment", "PENDING APPROVED IN_DISPUTE CHARGEBACK")),
    (1, ("payment", "PENDING APPROVED CHARGEBACK REFUNDED")),
    (8, ("withdrawal", "PENDING APPROVED")),
    (2, ("withdrawal", "PENDING REJECTED")),
    (1, ("withdrawal", "PENDING APPROVED REJECTED")),
)

_AFTER: Final = {
    "APPROVED": 2 * MINUTE,
    "REFUNDED": 5 * DAY,
    "IN_DISPUTE": 20 * DAY,
    "CHARGEBACK": 8 * DAY,
}


def _utc(instant: int) -> str:
    return seconds_text(instant) + "Z"
