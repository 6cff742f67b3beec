"""Hypothesis draws deliveries of one root: real bodies of all four providers, few instants, few amounts.

Few, because equal times, repeats, and one key with two contents are what could go wrong.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson
from hypothesis import strategies as st

from projections import providers
from projections.delivery import Delivery
from projections.facts import Fact
from tests.bodies import KEYED, document, raw, row

CONTESTED = frozenset({"alert", "disputed", "charged_back"})

Documents = st.SearchStrategy[dict[str, Any]]
"""Bodies that speak of one root."""


class Kind(NamedTuple):
    """What a root may be told of."""

    provider: str
    documents: Documents
    url: str | None = None
    """The URL's marker."""


def _any(*values: object) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def _made(base: dict[str, Any], **members: st.SearchStrategy[Any]) -> Documents:
    return st.fixed_dictionaries(members).map(lambda drawn: base | drawn)


def _words(seldom: str, *, often: str) -> st.SearchStrategy[str]:
    return st.sampled_from([*seldom.split(), *often.split(), *often.split()])


_LOCAL = _any(
    "2025-10-07T10:00:00",
    "2025-10-07T10:00:00.000",
    "2025-10-07T10:00:00.000000001",
    "2025-10-07T10:00:01",
    "2025-10-08T10:00:00",
    None,
)
_UTC = _any("2025-10-07T12:00:00Z", "2025-10-07T12:00:01Z", "2025-10-08T12:00:00Z", "2025-10-09T12:00:00Z")
_CENTS = _any(None, 0, 50, 100)


def _refund(literal: str | None) -> dict[str, Any]:
    return {"date": "2025-10-08", "amount": None if literal is None else raw(literal)}


_BARTE_ORDERS = _made(
    document("barte", "order_paid"),
    status=_words(
        "SENT PRE_AUTHORIZED PARTIALLY_PAID PAID LATE ABANDONED EXPIRED CANCELED FAILED PAID_MANUALLY",
        often="PAID REFUND CHARGEBACK DISPUTE DISPUTE_ALERT paid",
    ),
    dateTime=_LOCAL,
    refunds=_any([], [_refund("10.00")], [_refund("10.00"), _refund("2.50")], [_refund(None)]),
    metadata=_any(None, [{"key": "order_ref", "value": "A"}], [{"key": "order_ref", "value": "B"}]),
    authorizationNsu=_any(None, "1", "2"),
)
_BARTE_SUBSCRIPTIONS = _made(
    document("barte", "subscription_defaulter"),
    status=_any("PENDING", "ACTIVE", "DEFAULTER", "INACTIVE", "SUSPENDED"),
    dateTime=_LOCAL,
    emailBuyer=_any(None, "a@example.com", "b@example.com"),
)
_ADMIN_PAYMENTS = _made(
    document("admin", "payment_approved", created_at=None),
    status=_any("PENDING", "APPROVED", "REJECTED", "CANCELED", "IN_DISPUTE", "CHARGEBACK", "REFUNDED"),
    updated_at=_UTC | st.none(),
    amount=_CENTS,
    currency=_any("BRL", "brl", None),
    external_id=_any(None, "A", "B"),
)
_ADMIN_WITHDRAWALS = _made(
    document("admin", "withdrawal_approved", created_at=None),
    status=_any("PENDING", "APPROVED", "REJECTED"),
    updated_at=_UTC | st.none(),
    amount=_CENTS,
)
_GEN_ORDER = "a2000000-0000-4000-8000-000000000001"
_GEN_PAYMENTS = _made(
    document("gen", "pix_paid")["data"],
    id=_any("payment-a", "payment-b", "payment-c"),
    status=_words(
        "PENDING PRE_AUTHORIZED REFUSED EXPIRED",
        often="PAID CANCELLED REVERSED CHARGEBACK DISPUTE",
    ),
    updated_at=_UTC | st.none(),
    inserted_at=_any(None, "2025-10-07T12:00:00Z"),
    subtotal_cents=_CENTS,
    total_cents=_CENTS,
)
_GEN_ORDERS = _made(
    document("gen", "order_created")["data"],
    status=_any("PENDING", "PAID", None),
    updated_at=_UTC | st.none(),
    inserted_at=st.none(),
    items=_any(
        [],
        [{"description": "a", "quantity": 1, "unit_price_cents": 100}],
        [{"description": "a", "quantity": 2, "unit_price_cents": 50}],
        [{"description": "a", "quantity": 2, "unit_price_cents": 100}],
    ),
)
_GEN_INVOICES = _made(
    {"invoiceId": _GEN_ORDER},
    updatedAt=_UTC | st.none(),
    amount=_any(None, raw("1.00"), raw("0.50")),
)
_APROVEI_SALES = _made(
    document("aprovei", "new_sale"),
    payment_status=_words(
        "pending approved refused canceled expired",
        often="approved refunded chargeback",
    ),
    date_created=_any("2025-10-07T12:00:00Z", "2025-10-07T12:00:00Z", None),
    date_approved=_UTC | st.none(),
    date_refunded=_UTC | st.none(),
    transaction_amount=_CENTS,
    external_code=_any(None, "A"),
)
_APROVEI_CARTS = _made(
    document("aprovei", "cart_abandoned"),
    date_created=_UTC | st.none(),
    products=_any([], [{"code": "A", "amount": 50, "quantity": 2}], [{"code": "B", "amount": 1}]),
)


@st.composite
def _in_an_envelope(draw: st.DrawFn, objects: Documents, events: Sequence[str]) -> dict[str, Any]:
    envelope: dict[str, Any] = {
        "id": draw(_any("e1", "e2")),
        draw(_any("event", "type", "event_type")): draw(st.sampled_from(events)),
        "data": draw(objects),
    }
    # Where the object has no date, the envelope's counts, and no identity covers it.
    date: dict[str, Any] = draw(_any({}, {}, {"created_at": "2025-10-07T12:00:00Z"}))
    return envelope | date


_GEN = (
    _in_an_envelope(_GEN_PAYMENTS, ["PAYMENT.UPDATED", "PAYMENT.PAID"])
    | _in_an_envelope(_GEN_PAYMENTS, ["PAYMENT.UPDATED"])
    | _in_an_envelope(_GEN_ORDERS, ["ORDER.CREATED", "ORDER.UPDATED"])
)
_GEN_BOLEPIX = _in_an_envelope(_GEN_INVOICES, ["charge-in", "charge-cancelled"])

KINDS = (
    Kind("barte", _BARTE_ORDERS),
    Kind("admin", _ADMIN_PAYMENTS),
    Kind("gen", _GEN),
    Kind("gen", _GEN | _GEN_BOLEPIX),
    Kind("aprovei", _APROVEI_SALES),
    Kind("barte", _BARTE_SUBSCRIPTIONS),
    Kind("admin", _ADMIN_WITHDRAWALS, "withdraw"),
    Kind("aprovei", _APROVEI_CARTS, "default"),
)

_ENCODERS: tuple[Callable[[dict[str, Any]], bytes], ...] = (
    orjson.dumps,
    lambda said: orjson.dumps(said, option=orjson.OPT_INDENT_2),
    lambda said: orjson.dumps(dict(reversed(said.items()))),
)
"""The same object in other bytes is the same delivery."""


def read(delivery: Delivery) -> Fact:
    """The fact that `delivery` states, payer's hashes included."""
    return providers.read(delivery, KEYED)


@st.composite
def lives(draw: st.DrawFn) -> list[Delivery]:
    """The rows of one root, by position; an operator may have decided on what is contested there."""
    kind = draw(st.sampled_from(KINDS))
    said = draw(st.lists(kind.documents, min_size=1, max_size=8))
    said += draw(st.lists(st.sampled_from(said), max_size=3))
    told = [
        row(kind.provider, draw(st.sampled_from(_ENCODERS))(one), position, kind=kind.url)
        for position, one in enumerate(said, start=1)
    ]
    decided = draw(_decisions([read(delivery) for delivery in told]))
    return told + [
        row("operator", one, position) for position, one in enumerate(decided, start=len(told) + 1)
    ]


@st.composite
def _decisions(draw: st.DrawFn, facts: Sequence[Fact]) -> list[dict[str, Any]]:
    contested = sorted({fact.key for fact in facts if fact.status in CONTESTED})
    if not contested:
        return []
    decision = _made(
        document("operator", "decision_lost", root=facts[0].root),
        answers=_any(*contested, "a key that no fact has"),
        decision=_any("lost", "closed"),
        decided_at=_UTC,
        note=_any(None, "a", "b"),
    )
    return draw(st.lists(decision, max_size=2))
