"""Write many roots at once, by COPY, into tables that hold none of them yet.

What `store.save` writes row by row, without its lookups: for the tables of a rebuild. In the caller's
transaction; a data error speaks of one of the roots.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec

from projections.facts import Payer
from projections.states import States
from service.postgres import Connection
from service.readmodels.store import FoldedRoot

_NOBODY: Final = Payer()
_PAYER: Final = ("payer_document", "payer_email", "payer_phone")


async def copy(connection: Connection, schema: str, folded: Sequence[FoldedRoot]) -> None:
    """Write timelines and states of `folded` into the tables of `schema`."""
    states = [one.states for one in folded]
    await _copy(
        connection,
        schema,
        "timeline",
        ("root", "partition", "facts", "document"),
        [(one.root, one.partition, one.facts, one.timeline) for one in folded],
    )
    for name, table in _TABLES.items():
        row_of, said = _ROWS[name], map(table.said, states)
        if table.many:
            rows = [row_of(state) for several in said for state in several]
        else:
            rows = [row_of(state) for state in said if state is not None]
        await _copy(connection, schema, name, table.columns, rows)


async def _copy(
    connection: Connection,
    schema: str,
    table: str,
    columns: Sequence[str],
    rows: Sequence[tuple[object, ...]],
) -> None:
    if rows:
        await connection.copy_records_to_table(table, schema_name=schema, columns=list(columns), records=rows)


class _Table(NamedTuple):
    """How a table is filled."""

    plain: tuple[str, ...]
    """Columns that are members of the state as they are."""
    json: tuple[str, ...]
    payer: bool
    said: Callable[[States], Any]
    """What a root says of it: a state or null, or several states."""
    many: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.plain, *self.json, *(_PAYER if self.payer else ()))


_TABLES: Final = {
    "order_state": _Table(
        plain=(
            "root", "account", "order_id", "provider", "status", "provider_status", "amount_cents",
            "refunded_cents", "paid_cents", "currency", "reference", "method", "channel", "products",
            "total_unknown", "facts",
        ),
        json=("payments", "flags", "history"),
        payer=True,
        said=attrgetter("order"),
    ),
    "dispute_state": _Table(
        plain=(
            "root", "ordinal", "account", "subject", "provider", "status", "reason", "opened_at",
            "ended_at", "decided_at", "facts",
        ),
        json=("history",),
        payer=False,
        said=attrgetter("disputes"),
        many=True,
    ),
    "subscription_state": _Table(
        plain=(
            "root", "account", "subscription_id", "provider", "status", "provider_status", "reference",
            "facts",
        ),
        json=("flags", "history"),
        payer=True,
        said=attrgetter("subscription"),
    ),
    "withdrawal_state": _Table(
        plain=(
            "root", "account", "withdrawal_id", "provider", "status", "provider_status", "amount_cents",
            "currency", "reference", "facts",
        ),
        json=("flags", "history"),
        payer=False,
        said=attrgetter("withdrawal"),
    ),
    "cart_state": _Table(
        plain=(
            "root", "account", "cart_id", "provider", "status", "amount_cents", "currency", "products",
            "recovery_url", "abandoned_at", "facts",
        ),
        json=("flags", "history"),
        payer=True,
        said=attrgetter("cart"),
    ),
}  # fmt: skip


def _row_of(plain: Sequence[str], json: Sequence[str], *, payer: bool) -> Callable[[Any], tuple[object, ...]]:
    """What makes a row of a state: its plain members, those that are JSON as text, the payer's three."""
    plain_of, json_of = attrgetter(*plain), [attrgetter(name) for name in json]

    def row_of(state: Any) -> tuple[object, ...]:
        row: tuple[object, ...] = plain_of(state) + tuple([_json(member(state)) for member in json_of])
        return row + _payer_of(state.payer or _NOBODY) if payer else row

    return row_of


def _json(member: object) -> str | None:
    if not member:
        return None if member is None else "[]"
    return _encode(member).decode()


_encode: Final = msgspec.json.Encoder().encode
_payer_of: Final = attrgetter("document", "email", "phone")

_ROWS: Final = {name: _row_of(table.plain, table.json, payer=table.payer) for name, table in _TABLES.items()}
