"""Facts as a test needs them: a word and a second, the rest by default."""

import hashlib
from collections.abc import Sequence
from typing import Any

import orjson

from projections.delivery import Delivery
from projections.events import Outgoing, outgoing
from projections.facts import PRECEDENCE, PRECEDENCE_WITHOUT_STATUS, Fact
from projections.fold import Root, states_of
from projections.states import DisputeState, OrderState, States
from projections.timeline import Timeline

ORDER = "shop:order:o-1"
START = 1_762_174_800_000_000_000
"""2025-11-03T13:00:00Z."""
SECOND = 1_000_000_000


def at(second: int) -> int:
    """The instant `second` seconds after START, in nanoseconds."""
    return START + second * SECOND


def fact(status: str | None, second: int, **members: Any) -> Fact:
    """A snapshot of the order `o-1` that says `status`; its key is kind, subject, status and second."""
    kind = members.get("kind", "order")
    aggregate = "order" if kind in {"payment", "decision"} else kind
    defaults: dict[str, Any] = {
        "root": f"shop:{aggregate}:o-1",
        "kind": kind,
        "subject": "o-1",
        "status": status,
        "word": (status or "").upper(),
        "precedence": PRECEDENCE[aggregate].get(status or "", PRECEDENCE_WITHOUT_STATUS),
        "occurred_at": at(second),
        "occurred_text": f"second {second}",
        "provider": "admin",
    }
    said = defaults | members
    said.setdefault("identity", _identity(said))
    return Fact(**said)


def payment(subject: str, status: str, second: int, cents: int | None = 100, **members: Any) -> Fact:
    """A snapshot of one payment of the order, over `cents`."""
    defaults: dict[str, Any] = {
        "kind": "payment",
        "subject": subject,
        "provider": "gen",
        "amount_cents": cents,
        "subtotal_cents": cents,
    }
    return fact(status, second, **(defaults | members))


def items(second: int, total_cents: int | None) -> Fact:
    """Gen's word on what was ordered: a fact without a status."""
    return fact(None, second, provider="gen", amount_cents=total_cents)


def decision(status: str, answers: str, second: int, note: str = "") -> Fact:
    """An operator's word on the dispute that holds the fact with the key `answers`."""
    return fact(
        status,
        second,
        kind="decision",
        subject="",
        provider="operator",
        word="",
        precedence=PRECEDENCE_WITHOUT_STATUS,
        answers=answers,
        identity=f"{answers}|{status}|{second}|{hashlib.sha256(note.encode()).hexdigest()}",
    )


def told(*facts: Fact) -> States:
    """The states of the root that knows `facts`."""
    timeline = Timeline(facts[0].root)
    for each in facts:
        timeline = timeline.join(each)
    return states_of(timeline)


def order_told(*facts: Fact) -> OrderState:
    """The order that `facts` tell of."""
    order = told(*facts).order
    assert order is not None
    return order


def only_dispute(*facts: Fact) -> DisputeState:
    """The one dispute that `facts` tell of."""
    (dispute,) = told(*facts).disputes
    return dispute


def flags(*facts: Fact) -> list[tuple[str, int]]:
    """The order's flags: name, second."""
    return [(flag.name, (flag.occurred_at - START) // SECOND) for flag in order_told(*facts).flags]


def statuses(*facts: Fact) -> list[str]:
    """The statuses in the order's history."""
    return [entry.status for entry in order_told(*facts).history]


def delivery(position: int, root: str | None = ORDER, **columns: Any) -> Delivery:
    """The row of the log at `position`."""
    defaults: dict[str, Any] = {
        "source": "shop",
        "account": "shop",
        "provider": "admin",
        "kind": None,
        "trust": "none",
        "received_at": at(position),
        "recorded_at": at(position),
        "body": b"{}",
    }
    return Delivery(position=position, root=root, **(defaults | columns))


def empty_root(root: str = ORDER) -> Root:
    """A root that was never folded."""
    return Root.decode(root, None)


def events_of(facts: Sequence[Fact], root: Root | None = None) -> list[Outgoing]:
    """All records that folding `facts` one by one puts out."""
    root = root or empty_root(facts[0].root)
    told: list[Outgoing] = []
    for position, each in enumerate(facts, start=1):
        after = root.join(each)
        told += outgoing(root, after, fact=each, delivery=delivery(position), log="main", generation=1)
        root = after
    return told


def data(record: Outgoing) -> dict[str, Any]:
    """What `record`, which is no tombstone, carries."""
    assert record.data is not None
    decoded: dict[str, Any] = orjson.loads(record.data)
    return decoded


def _identity(said: dict[str, Any]) -> str:
    # An undated fact says no instant, so none is part of what identifies it.
    content = {name: value for name, value in said.items() if name != "occurred_at"}
    digest = hashlib.sha256(repr(sorted(content.items())).encode()).hexdigest()
    key = (said["kind"], said["subject"], said["status"] or "", said["occurred_text"] or "")
    return "|".join((*key, digest))
