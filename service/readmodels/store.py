"""Load and write what the fold keeps of a root: its timeline, its states, or that it is parked.

Every function is one statement on the caller's connection, in the caller's transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from projections.states import States
from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent

STATE_TABLES: Final = (
    "order_state",
    "dispute_state",
    "subscription_state",
    "withdrawal_state",
    "cart_state",
)
"""A row per aggregate."""

TABLES: Final = ("timeline", *STATE_TABLES, "quarantine", "parked_root", "retried_delivery")
"""All that derives from the log, and is exchanged by a swap."""


@dataclass(frozen=True, slots=True)
class StoredRoot:
    """What is stored of one root."""

    timeline: bytes | None
    """As `Timeline.encode` gave it; null for a root that was never folded."""
    parked: bool


class FoldedRoot(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a fold made of one root, to be written."""

    root: str
    partition: int
    facts: int
    timeline: bytes
    states: States


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A delivery that the code cannot interpret yet."""

    position: int
    partition: int
    source: str
    provider: str
    root: str | None
    reason: str


async def load(connection: Connection, roots: Sequence[str]) -> Mapping[str, StoredRoot]:
    """What is stored of each of `roots`, by root."""
    rows = await connection.fetch(statement(_SQL, "load_roots"), roots)
    return {row["root"]: StoredRoot(row["document"], row["parked"]) for row in rows}


async def save(connection: Connection, folded: Sequence[FoldedRoot]) -> None:
    """Write timelines and states of `folded`, each root at most once in it.

    Raises what asyncpg raises; a data error speaks of one of the roots.
    """
    await connection.execute(
        statement(_SQL, "save_timelines"),
        [one.root for one in folded],
        [one.partition for one in folded],
        [one.facts for one in folded],
        [one.timeline for one in folded],
    )
    for name, states in _by_table(folded).items():
        if states:
            await connection.execute(statement(_SQL, name), msgspec.json.encode(states).decode())
    disputed = [one for one in folded if one.states.order is not None]
    if disputed:
        await connection.execute(
            statement(_SQL, "drop_disputes"),
            [one.root for one in disputed],
            [len(one.states.disputes) for one in disputed],
        )


async def quarantine(connection: Connection, log: str, deliveries: Sequence[Quarantined]) -> None:
    """Keep `deliveries` aside."""
    if deliveries:
        await connection.execute(
            statement(_SQL, "quarantine"),
            log,
            [one.position for one in deliveries],
            [one.partition for one in deliveries],
            [one.source for one in deliveries],
            [one.provider for one in deliveries],
            [one.root for one in deliveries],
            [one.reason for one in deliveries],
        )


async def park(
    connection: Connection, *, root: str, log: str, partition: int, positions: Sequence[int], reason: str
) -> None:
    """Set `root` aside with the deliveries at `positions`; its later ones will follow them."""
    await connection.execute(statement(_SQL, "park"), root, log, partition, positions, reason)


async def remember_retried(connection: Connection, log: str, root: str, positions: Sequence[int]) -> None:
    """Remember that `root` was folded out of log order: until the next swap, its event ids are its own."""
    await connection.execute(statement(_SQL, "remember_retried"), log, root, positions)


async def quarantined(connection: Connection, log: str) -> list[asyncpg.Record]:
    """All quarantined deliveries of `log`, in log order."""
    return await connection.fetch(statement(_SQL, "list_quarantined"), log, 0, None)


async def parked(connection: Connection, log: str) -> list[asyncpg.Record]:
    """All parked roots of `log`, those that wait longest first."""
    return await connection.fetch(statement(_SQL, "list_parked"), log)


def _by_table(folded: Sequence[FoldedRoot]) -> dict[str, list[msgspec.Struct]]:
    return {
        "save_orders": [one.states.order for one in folded if one.states.order is not None],
        "save_disputes": [dispute for one in folded for dispute in one.states.disputes],
        "save_subscriptions": [
            one.states.subscription for one in folded if one.states.subscription is not None
        ],
        "save_withdrawals": [one.states.withdrawal for one in folded if one.states.withdrawal is not None],
        "save_carts": [one.states.cart for one in folded if one.states.cart is not None],
    }
