"""Deliveries as the providers send them: the fixtures, and what tests make of them.

A fixture is one delivery, exactly as it would arrive. What is expected of it stands in the tests,
from docs/providers alone.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from projections import providers
from projections.delivery import Delivery
from projections.facts import Fact, Payer, Reading, Unreadable
from projections.states import States
from tests.facts import at, told

FIXTURES = Path(__file__).parent / "fixtures"
PROVIDERS = ("barte", "admin", "gen", "aprovei")
ALL = tuple((path.parent.name, path.stem) for path in sorted(FIXTURES.glob("*/*.json")))
"""(provider, fixture) of every fixture, the operator's too."""

PLAIN = Reading()
KEYED = Reading(payer_key=b"a key that only these tests know")

PRECEDENCE = {
    "pending": 0,
    "authorized": 10,
    "overdue": 15,
    "partially_paid": 20,
    "rejected": 25,
    "expired": 27,
    "paid": 40,
    "canceled": 45,
    "partially_refunded": 50,
    "alert": 55,
    "disputed": 60,
    "refunded": 70,
    "reversed": 70,
    "charged_back": 80,
}
"""docs/providers/README.md, The fold, 1: written down again, not imported."""

Body = bytes | Mapping[str, Any]


def body(provider: str, name: str) -> bytes:
    """The bytes of a fixture."""
    return (FIXTURES / provider / f"{name}.json").read_bytes()


def document(provider: str, name: str, **members: Any) -> dict[str, Any]:
    """A fixture, parsed; `members` replace its own at the top level."""
    parsed: dict[str, Any] = orjson.loads(body(provider, name))
    return parsed | members


def encoded(what: Body) -> bytes:
    """The bytes of a document; `raw` members stand in it as written."""
    return what if isinstance(what, bytes) else orjson.dumps(what)


def raw(literal: str) -> orjson.Fragment:
    """A JSON literal exactly as written, `45.90`."""
    return orjson.Fragment(literal)


def digest(what: Body) -> str:
    """The end of an identity: of the whole parsed object, its members sorted."""
    return hashlib.sha256(orjson.dumps(orjson.loads(encoded(what)), option=orjson.OPT_SORT_KEYS)).hexdigest()


def ns(text: str) -> int:
    """Nanoseconds since the epoch of `2025-10-07T12:31:44.250016003Z`."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = dt.datetime.fromisoformat(whole + "+00:00") - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (seconds // dt.timedelta(seconds=1)) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)


def row(provider: str, what: Body, position: int = 1, **columns: Any) -> Delivery:
    """The log's row of a delivery to account `shop`."""
    operator = provider == "operator"
    defaults: dict[str, Any] = {
        "source": "operator" if operator else "shop",
        "account": "operator" if operator else "shop",
        "root": None,
        "kind": None,
        "trust": "operator" if operator else "none",
        "received_at": at(position),
        "recorded_at": at(position),
    }
    members = defaults | columns
    return Delivery(position=position, provider=provider, body=encoded(what), **members)


def said(provider: str, what: Body, *, reading: Reading = PLAIN, **columns: Any) -> Fact:
    """The fact that a delivery states."""
    return providers.read(row(provider, what, **columns), reading)


def refused(provider: str, what: Body, **columns: Any) -> str:
    """The reason why a delivery cannot be read."""
    with pytest.raises(Unreadable) as caught:
        providers.read(row(provider, what, **columns), PLAIN)
    return caught.value.reason


def rooted(provider: str, what: Body, kind: str | None = None) -> str:
    """The root that the ingress would store."""
    account = "operator" if provider == "operator" else "shop"
    return providers.root_of(provider, account, orjson.loads(encoded(what)), kind)


def plain(fact: Fact) -> Fact:
    """The fact with what two spellings may say alike: nobody, and the default currency."""
    nobody = fact.payer is None or fact.payer == Payer()
    return msgspec.structs.replace(
        fact, payer=None if nobody else fact.payer, currency=fact.currency or "BRL"
    )


def stands(states: States) -> tuple[str, list[str]]:
    """The status of the root's own aggregate, and those of its disputes."""
    own = [
        state
        for state in (states.order, states.subscription, states.withdrawal, states.cart)
        if state is not None
    ]
    (aggregate,) = own
    return aggregate.status, [dispute.status for dispute in states.disputes]


def standing(*facts: Fact) -> tuple[str, list[str]]:
    """The same, of the root that knows `facts`."""
    return stands(told(*facts))
