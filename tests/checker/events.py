"""The records that folding one root's facts in log order, one delivery at a time, must yield.

An aggregate whose status differs gives `<kind>.<status>`; else whose content does, `updated`; else
whose flags or history do, `amended`; else no event. Each new fact gives a state record of every
aggregate. From the design, "Meaning" 6, and docs/asyncapi.json.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from tests.checker.facts import Fact
from tests.checker.fold import State, States, fold

_KINDS: Final = {
    "order_state": "order",
    "dispute_state": "dispute",
    "subscription_state": "subscription",
    "withdrawal_state": "withdrawal",
    "cart_state": "cart",
}
_HISTORY: Final = {"flags", "history", "opened_at", "ended_at", "decided_at", "abandoned_at"}
"""Flags, and the instants at which something began or ended: what is known of the past."""
_NOT_CONTENT: Final = _HISTORY | {"status", "facts", "provider", "provider_status"}
"""Content is amounts, references, method, payer: who said it last, in which word, is none of these."""


class Expected(NamedTuple):
    """One record that must be published once."""

    event_id: str
    event_type: str
    topic: str
    key: str | None
    """Null where the documents name none."""
    root: str
    """Its partition key."""


def quarantined(log: str, position: int, root: str | None) -> Expected:
    """The record that a delivery which cannot be read must yield."""
    receipt = f"{log}-{position}"
    topic = "webhooks.quarantine"
    return Expected(f"{receipt}/quarantined", "delivery.quarantined", topic, None, root or f"?{position}")


class Folding(NamedTuple):
    """What folding a root one fact at a time gives."""

    records: list[Expected]
    states: States


class Generation(NamedTuple):
    """The states that a swap brought in, or the first ones."""

    number: int
    positions: Mapping[int, int]
    """Partition → log position of the last delivery that was folded before it."""


def generation_at(position: int, partition: int, generations: Sequence[Generation]) -> int:
    """The number in the ids of what the delivery at `position` causes."""
    return max(each.number for each in generations if position > each.positions.get(partition, 0))


def folding(root: str, arrivals: Sequence[Fact], generations: Sequence[int]) -> Folding:
    """Every record in order, and the last states.

    `arrivals` are the distinct facts in log order, `generations` those in which each came.
    """
    states: States = {}
    records: list[Expected] = []
    for count, generation in enumerate(generations, 1):
        before, states = states, fold(root, arrivals[:count])
        records += _records(f"{root}@{generation:04}.{count:010}", root, before, states)
    return Folding(records, states)


def _records(version: str, root: str, before: States, after: States) -> Iterator[Expected]:
    known = {(kind, ordinal): row for kind, ordinal, row in _aggregates(before)}
    for kind, ordinal, row in _aggregates(after):
        change = _change(kind, known.pop((kind, ordinal), None), row)
        if change is not None:
            yield Expected(f"{version}/{ordinal}", change, f"{kind}s", root, root)
        key = f"{root}/{ordinal}" if ordinal else root
        yield Expected(f"{version}/{ordinal}/state", f"{kind}.state", f"{kind}s.state", key, root)
    for kind, ordinal in known:
        key = f"{root}/{ordinal}"
        yield Expected(f"{version}/{ordinal}/gone", f"{kind}.state", f"{kind}s.state", key, root)


def _aggregates(states: States) -> Iterator[tuple[str, int, State]]:
    for table, kind in _KINDS.items():
        for number, row in enumerate(states.get(table, ()), 1):
            yield kind, number if kind == "dispute" else 0, row


def _change(kind: str, before: State | None, after: State) -> str | None:
    if before is None or before["status"] != after["status"]:
        return f"{kind}.{after['status']}"
    if _content(before) != _content(after):
        return f"{kind}.updated"
    if any(before.get(name) != after.get(name) for name in _HISTORY):
        return f"{kind}.amended"
    return None


def _content(row: State) -> State:
    return {name: value for name, value in row.items() if name not in _NOT_CONTENT}
