"""Rows of the log written by hand, and what the naive fold makes of them."""

import datetime as dt
from collections.abc import Mapping, Sequence
from itertools import count

import orjson

from tests.checker.facts import Row
from tests.checker.fold import State, States
from tests.checker.naive import naive_states

SECOND = 10**9
NOON = 1_762_174_800 * SECOND
"""2025-11-03T13:00:00Z, in Sao Paulo 10:00."""

_positions = count(1)


def at(seconds: int) -> int:
    """Nanoseconds of NOON and so many seconds."""
    return NOON + seconds * SECOND


def utc(seconds: int) -> str:
    """The same instant as Admin and Aprovei write it."""
    return dt.datetime.fromtimestamp(at(seconds) // SECOND, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(
    provider: str,
    document: Mapping[str, object] | bytes,
    root: str | None,
    *,
    kind: str | None = None,
    recorded_at: int = NOON,
) -> Row:
    """A row of the log, at a position of its own."""
    return Row(
        position=next(_positions),
        source="shop",
        account="operator" if provider == "operator" else "shop",
        provider=provider,
        root=root,
        kind=kind,
        recorded_at=recorded_at,
        body=document if isinstance(document, bytes) else orjson.dumps(document),
    )


def barte(status: str, seconds: int, **more: object) -> Row:
    """An order `b` of Barte's, whose dateTime is local."""
    local = dt.datetime.fromtimestamp(at(seconds) // SECOND, dt.UTC) - dt.timedelta(hours=3)
    document = {
        "uuid": "b",
        "domain": "ORDER",
        "status": status,
        "dateTime": local.strftime("%Y-%m-%dT%H:%M:%S"),
        "refunds": [],
        "cards": [],
    }
    kind = "subscription" if more.get("domain") == "SUBSCRIPTION" else "order"
    return row("barte", document | more, f"shop:{kind}:b")


def admin(status: str, seconds: int, **more: object) -> Row:
    """A payment `a` of Admin's, or a withdrawal if `type` says so."""
    document = {"id": "a", "type": "PAYMENT", "status": status, "amount": 1000, "updated_at": utc(seconds)}
    kind = "withdrawal" if more.get("type") == "WITHDRAW" else "order"
    return row("admin", document | more, f"shop:{kind}:a")


def gen(payment: str, status: str, seconds: int, **more: object) -> Row:
    """A payment of Gen's order `g`, of 100 cents."""
    data = {"id": payment, "order_id": "g", "status": status, "subtotal_cents": 100, "total_cents": 110}
    dates = {"inserted_at": utc(0), "updated_at": utc(seconds)}
    return row("gen", {"event": f"PAYMENT.{status}", "data": data | dates | more}, "shop:order:g")


def invoice(cents: int, seconds: int = 0, **more: object) -> Row:
    """Gen's order `g` itself, with a total."""
    items = [{"quantity": 1, "unit_price_cents": cents}]
    data = {"id": "g", "status": "PENDING", "items": items, "updated_at": utc(seconds)}
    return row("gen", {"event": "ORDER.UPDATED", "data": data | more}, "shop:order:g")


def bolepix(event: str, seconds: int, **more: object) -> Row:
    """A Bolepix invoice `i`."""
    data = {"invoiceId": "i", "amount": 5.0, "insertedAt": utc(0), "updatedAt": utc(seconds)}
    return row("gen", {"event": event, "data": data | more}, "shop:order:i")


def aprovei(
    status: str, *, created: int = 0, approved: int | None = None, refunded: int | None = None, **more: object
) -> Row:
    """A sale `v` of Aprovei's."""
    document = {
        "transaction_token": "v",
        "transaction_amount": 7000,
        "payment_status": status,
        "date_created": utc(created),
        "date_approved": None if approved is None else utc(approved),
        "date_refunded": None if refunded is None else utc(refunded),
    }
    return row("aprovei", document | more, "shop:order:v")


def decision(word: str, seconds: int, *, root: str, answers: str) -> Row:
    """What an operator says of the dispute that holds the fact with the key `answers`."""
    document = {"root": root, "answers": answers, "decision": word, "decided_at": utc(seconds), "note": None}
    return row("operator", document, root)


def states(rows: Sequence[Row]) -> States:
    """Of the one root that `rows` are about."""
    (found,) = naive_states(rows).values()
    return found


def order(*rows: Row) -> State:
    """The order's state."""
    return states(rows)["order_state"][0]


def disputes(*rows: Row) -> list[State]:
    """The order's disputes, by ordinal."""
    return states(rows).get("dispute_state", [])


def flags(*rows: Row) -> list[str]:
    """The names of the order's flags."""
    found = order(*rows)["flags"]
    assert isinstance(found, list)
    return [flag["name"] for flag in found]
