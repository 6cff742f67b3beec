"""Write many roots at once, by COPY, into tables that hold none of them yet.

What `store.save` writes row by row, without its lookups: for the tables of a rebuild. In the caller's
transaction; a data error speaks of one of the roots.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from projections.facts import Payer
from projections.states import State, States
from service.postgres import Connection
from service.readmodels.store import FoldedRoot

_NOBODY: Final = Payer()
_JSON: Final = frozenset({"payments", "flags", "history"})
_PAYER: Final = ("payer_document", "payer_email", "payer_phone")


async def copy(connection: Connection, schema: str, folded: Sequence[FoldedRoot]) -> None:
    """Write timelines and states of `folded` into the tables of `schema`."""
    await _copy(
        connection,
        schema,
        "timeline",
        ("root", "partition", "facts", "document"),
        [(one.root, one.partition, one.facts, one.timeline) for one in folded],
    )
    for table, (columns, states_in) in _TABLES.items():
        row_of = _ROWS[table]
        rows = [row_of(state) for one in folded for state in states_in(one.states)]
        await _copy(connection, schema, table, columns, rows)


async def _copy(
    connection: Connection,
    schema: str,
    table: str,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    if rows:
        await connection.copy_records_to_table(table, schema_name=schema, columns=list(columns), records=rows)


def _only(name: str) -> Callable[[States], tuple[State, ...]]:
    state_of = attrgetter(name)

    def only(states: States) -> tuple[State, ...]:
        state = state_of(states)
        return () if state is None else (state,)

    return only


_TABLES: Final[dict[str, tuple[tuple[str, ...], Callable[[States], tuple[State, ...]]]]] = {
    "order_state": (
        (
            "root", "account", "order_id", "provider", "status", "provider_status", "amount_cents",
            "refunded_cents", "paid_cents", "currency", "reference", "method", "channel", *_PAYER,
            "products", "payments", "total_unknown", "flags", "history", "facts",
        ),
        _only("order"),
    ),
    "dispute_state": (
        (
            "root", "ordinal", "account", "subject", "provider", "status", "reason", "opened_at",
            "ended_at", "decided_at", "history", "facts",
        ),
        attrgetter("disputes"),
    ),
    "subscription_state": (
        (
            "root", "account", "subscription_id", "provider", "status", "provider_status", "reference",
            *_PAYER, "flags", "history", "facts",
        ),
        _only("subscription"),
    ),
    "withdrawal_state": (
        (
            "root", "account", "withdrawal_id", "provider", "status", "provider_status", "amount_cents",
            "currency", "reference", "flags", "history", "facts",
        ),
        _only("withdrawal"),
    ),
    "cart_state": (
        (
            "root", "account", "cart_id", "provider", "status", "amount_cents", "currency", *_PAYER,
            "products", "recovery_url", "abandoned_at", "flags", "history", "facts",
        ),
        _only("cart"),
    ),
}  # fmt: skip
"""Table → its columns, and the rows that a root has in it."""


def _row_of(columns: Sequence[str]) -> Callable[[Any], tuple[object, ...]]:
    """What makes a row of a state: its members by name, JSON as text, the payer as three columns."""
    cells = [_cell(name) for name in columns]

    def row_of(state: Any) -> tuple[object, ...]:
        return tuple([cell(state) for cell in cells])

    return row_of


def _cell(name: str) -> Callable[[Any], object]:
    member = attrgetter(name)
    if name in _JSON:
        return lambda state: None if member(state) is None else _encode(member(state)).decode()
    if name in _PAYER:
        part = attrgetter(name.removeprefix("payer_"))
        return lambda state: part(state.payer or _NOBODY)
    return member


_encode: Final = msgspec.json.Encoder().encode

_ROWS: Final = {table: _row_of(columns) for table, (columns, _) in _TABLES.items()}
