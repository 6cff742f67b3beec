"""Amounts as integer minor units (cents), exactly or not at all."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

import msgspec

from projections.facts import INTEGER_MAX, Unreadable
from projections.providers.documents import TOO_DEEP

BigInt = Annotated[int, msgspec.Meta(ge=-INTEGER_MAX - 1, le=INTEGER_MAX)]
"""A whole number that Postgres can hold; a text, a fraction, anything beyond is refused."""

Cents = BigInt
"""An amount that is sent in cents."""

_CENT: Final = Decimal("0.01")
_LARGEST: Final = Decimal(INTEGER_MAX) * _CENT

_exact = msgspec.json.Decoder(float_hook=Decimal)


def exactly(body: bytes) -> Any:
    """The JSON in `body` with every fraction as the decimal that was sent: no binary float comes between.

    `body` has been parsed before, so it is JSON. Raises Unreadable where it is nested beyond reason.
    """
    try:
        return _exact.decode(body)
    except RecursionError:
        raise Unreadable(TOO_DEEP) from None
    except InvalidOperation:
        raise Unreadable("body: holds a number beyond any amount") from None


def cents_of_reais(reais: object, field: str) -> int | None:
    """The cents of a decimal amount in reais as `exactly` gives it, `45.90` → 4590; null of null.

    Raises Unreadable for a fraction of a cent, which is not rounded away, and for what is no number.
    """
    if reais is None:
        return None
    if isinstance(reais, bool) or not isinstance(reais, int | Decimal):
        raise Unreadable(f"{field}: expected a number")
    amount = Decimal(reais)
    if amount.copy_abs() > _LARGEST:
        raise Unreadable(f"{field}: beyond the largest bigint")
    rounded = amount.quantize(_CENT)
    if rounded != amount:
        raise Unreadable(f"{field}: a fraction of a cent")
    if Decimal(repr(float(amount))) != amount:
        # The identity's digest is of doubles: two such amounts could share one.
        raise Unreadable(f"{field}: more digits than can be told apart")
    return int(rounded.scaleb(2))


def total(amounts: Iterable[int | None], field: str) -> int | None:
    """The sum; null where there is nothing to add, or where one of them is null."""
    sum_, some = 0, False
    for amount in amounts:
        if amount is None:
            return None
        sum_, some = sum_ + amount, True
    return within_bigint(sum_, field) if some else None


def within_bigint(amount: int, field: str) -> int:
    """`amount`, or Unreadable beyond Postgres's bigint."""
    if not -INTEGER_MAX - 1 <= amount <= INTEGER_MAX:
        raise Unreadable(f"{field}: beyond the largest bigint")
    return amount
