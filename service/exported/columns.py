"""The columns of every exported table, and values from and to them.

The facts have every member of `projections.facts.Fact`, so the facts alone are enough for the fold; the
states have the columns of the state tables in Postgres. Instants are timestamps in UTC: of the log in
microseconds, of facts and states in nanoseconds, for Barte sends nine digits.

What could name a person is in PERSONAL alone, and in nothing else.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from projections.delivery import Delivery
from projections.facts import Fact, Payer
from projections.states import (
    CartState,
    DisputeState,
    OrderState,
    State,
    SubscriptionState,
    WithdrawalState,
)
from service.exported.manifest import FACTS, LOG, QUARANTINE

LOG_INSTANT: Final = pa.timestamp("us", tz="UTC")
INSTANT: Final = pa.timestamp("ns", tz="UTC")
TEXT: Final = pa.string()
CENTS: Final = pa.int64()

ROOT_HASH: Final = pa.field("root_hash", pa.uint32(), nullable=False)
"""crc32 of the root; modulo the buckets, it is the bucket. Files are sorted by it, then by position."""

PAYER: Final = ("payer_document", "payer_email", "payer_phone")


FEW_VALUES: Final = (
    "source",
    "account",
    "provider",
    "kind",
    "trust",
    "status",
    "provider_status",
    "word",
    "precedence",
    "reason",
    "currency",
    "method",
    "channel",
    "flag",
    "flags.list.element.name",
    "history.list.element.status",
    "payments.list.element.status",
    "payments.list.element.method",
    "products.list.element",
)
"""The columns, by their paths in Parquet, whose values return; the others hold ids, instants, hashes."""


def root_hash(key: str) -> int:
    """The hash of a root, or of `?<position>` where a row has none."""
    return zlib.crc32(key.encode())


def _required(name: str, of: pa.DataType) -> pa.Field:
    return pa.field(name, of, nullable=False)


_ARRIVAL: Final = (
    _required("position", pa.int64()),
    _required("recorded_at", LOG_INSTANT),
    _required("received_at", LOG_INSTANT),
    _required("source", TEXT),
    _required("account", TEXT),
)
_PAYER_FIELDS: Final = tuple(pa.field(name, TEXT) for name in PAYER)
_PRODUCTS: Final = pa.field("products", pa.list_(pa.field("code", TEXT, nullable=False)))

PERSONAL: Final = (
    pa.field("remote_ip", TEXT),
    _required("headers", TEXT),
    _required("body", pa.binary()),
    _required("body_sha256", pa.binary(32)),
)
"""Of the log, with `--with-personal-data` alone."""

_LOG: Final = pa.schema(
    [
        *_ARRIVAL,
        _required("provider", TEXT),
        pa.field("kind", TEXT),
        pa.field("root", TEXT),
        ROOT_HASH,
        _required("trust", TEXT),
        _required("body_bytes", pa.int32()),
        pa.field("body_hash", TEXT),
        pa.field("remote_ip_hash", TEXT),
    ]
)

_QUARANTINE: Final = pa.schema(
    [
        *_ARRIVAL,
        _required("provider", TEXT),
        pa.field("kind", TEXT),
        pa.field("root", TEXT),
        _required("reason", TEXT),
    ]
)

_FACTS: Final = pa.schema(
    [
        *_ARRIVAL,
        ROOT_HASH,
        _required("identity", TEXT),
        _required("root", TEXT),
        _required("kind", TEXT),
        _required("subject", TEXT),
        pa.field("status", TEXT),
        _required("word", TEXT),
        _required("precedence", pa.int32()),
        _required("occurred_at", INSTANT),
        pa.field("occurred_text", TEXT),
        _required("provider", TEXT),
        pa.field("amount_cents", CENTS),
        pa.field("refunded_cents", CENTS),
        _required("refunded_unknown", pa.bool_()),
        pa.field("currency", TEXT),
        pa.field("reference", TEXT),
        pa.field("method", TEXT),
        pa.field("channel", TEXT),
        *_PAYER_FIELDS,
        _PRODUCTS,
        pa.field("subtotal_cents", CENTS),
        pa.field("recovery_url", TEXT),
        pa.field("answers", TEXT),
        pa.field("flag", TEXT),
        _required("win_dated", pa.bool_()),
    ]
)


def _entries(name: str, *fields: pa.Field, nullable: bool = False) -> pa.Field:
    return pa.field(name, pa.list_(pa.field("entry", pa.struct(fields), nullable=False)), nullable=nullable)


_FLAGS: Final = _entries("flags", _required("name", TEXT), _required("occurred_at", INSTANT))
_HISTORY: Final = _entries("history", _required("status", TEXT), _required("began_at", INSTANT))
_PAYMENTS: Final = _entries(
    "payments",
    _required("id", TEXT),
    _required("status", TEXT),
    pa.field("total_cents", CENTS),
    pa.field("reference", TEXT),
    pa.field("method", TEXT),
    nullable=True,
)
_FACT_COUNT: Final = _required("facts", pa.int32())

_ORDER_STATE: Final = pa.schema(
    [
        _required("root", TEXT),
        _required("account", TEXT),
        _required("order_id", TEXT),
        _required("provider", TEXT),
        _required("status", TEXT),
        _required("provider_status", TEXT),
        pa.field("amount_cents", CENTS),
        pa.field("refunded_cents", CENTS),
        pa.field("paid_cents", CENTS),
        _required("currency", TEXT),
        pa.field("reference", TEXT),
        pa.field("method", TEXT),
        pa.field("channel", TEXT),
        *_PAYER_FIELDS,
        _PRODUCTS,
        _PAYMENTS,
        _required("total_unknown", pa.bool_()),
        _FLAGS,
        _HISTORY,
        _FACT_COUNT,
    ]
)
_DISPUTE_STATE: Final = pa.schema(
    [
        _required("root", TEXT),
        _required("ordinal", pa.int32()),
        _required("account", TEXT),
        _required("subject", TEXT),
        _required("provider", TEXT),
        _required("status", TEXT),
        pa.field("reason", TEXT),
        _required("opened_at", INSTANT),
        pa.field("ended_at", INSTANT),
        pa.field("decided_at", INSTANT),
        _HISTORY,
        _FACT_COUNT,
    ]
)
_SUBSCRIPTION_STATE: Final = pa.schema(
    [
        _required("root", TEXT),
        _required("account", TEXT),
        _required("subscription_id", TEXT),
        _required("provider", TEXT),
        _required("status", TEXT),
        _required("provider_status", TEXT),
        pa.field("reference", TEXT),
        *_PAYER_FIELDS,
        _FLAGS,
        _HISTORY,
        _FACT_COUNT,
    ]
)
_WITHDRAWAL_STATE: Final = pa.schema(
    [
        _required("root", TEXT),
        _required("account", TEXT),
        _required("withdrawal_id", TEXT),
        _required("provider", TEXT),
        _required("status", TEXT),
        _required("provider_status", TEXT),
        pa.field("amount_cents", CENTS),
        _required("currency", TEXT),
        pa.field("reference", TEXT),
        _FLAGS,
        _HISTORY,
        _FACT_COUNT,
    ]
)
_CART_STATE: Final = pa.schema(
    [
        _required("root", TEXT),
        _required("account", TEXT),
        _required("cart_id", TEXT),
        _required("provider", TEXT),
        _required("status", TEXT),
        pa.field("amount_cents", CENTS),
        _required("currency", TEXT),
        *_PAYER_FIELDS,
        _PRODUCTS,
        pa.field("recovery_url", TEXT),
        _required("abandoned_at", INSTANT),
        _FLAGS,
        _HISTORY,
        _FACT_COUNT,
    ]
)

STATES: Final[dict[str, tuple[type[State], pa.Schema]]] = {
    "order_state": (OrderState, _ORDER_STATE),
    "dispute_state": (DisputeState, _DISPUTE_STATE),
    "subscription_state": (SubscriptionState, _SUBSCRIPTION_STATE),
    "withdrawal_state": (WithdrawalState, _WITHDRAWAL_STATE),
    "cart_state": (CartState, _CART_STATE),
}
"""Table → what its rows are, and their columns."""


def schema(table: str, *, personal_data: bool = False) -> pa.Schema:
    """The columns of `table`."""
    if table == LOG:
        return pa.schema([*_LOG, *PERSONAL]) if personal_data else _LOG
    return {FACTS: _FACTS, QUARANTINE: _QUARANTINE}.get(table) or STATES[table][1]


class Stated(NamedTuple):
    """A fact, and the delivery that told of it."""

    delivery: Delivery
    fact: Fact


def facts_table(rows: Sequence[Stated]) -> pa.Table:
    """`rows` as the table `facts`."""
    arrivals = zip(*(arrival(row.delivery) for row in rows), strict=True)
    members = zip(*(_MEMBERS(row.fact) for row in rows), strict=True)
    columns = dict(zip((field.name for field in _ARRIVAL), arrivals, strict=True))
    columns |= dict(zip(_MEMBER_NAMES, members, strict=True))
    columns |= _payer_columns(columns.pop("payer"))
    columns[ROOT_HASH.name] = tuple(map(root_hash, columns["root"]))
    return _table(columns, _FACTS)


def facts_of(table: pa.Table) -> list[Fact]:
    """The facts of rows of the table `facts`, in their order."""
    columns = [_values(table[name]) for name in FACT_COLUMNS]
    # Spelled out: a third of a fold's time is spent here, and by dicts it would be half as much again.
    return [
        Fact(
            identity=identity,
            root=root,
            kind=kind,
            subject=subject,
            status=status,
            word=word,
            precedence=precedence,
            occurred_at=occurred_at,
            occurred_text=occurred_text,
            provider=provider,
            amount_cents=amount_cents,
            refunded_cents=refunded_cents,
            refunded_unknown=refunded_unknown,
            currency=currency,
            reference=reference,
            method=method,
            channel=channel,
            payer=_payer(payer_document, payer_email, payer_phone),
            products=None if products is None else tuple(products),
            subtotal_cents=subtotal_cents,
            recovery_url=recovery_url,
            answers=answers,
            flag=flag,
            win_dated=win_dated,
        )
        for (
            identity,
            root,
            kind,
            subject,
            status,
            word,
            precedence,
            occurred_at,
            occurred_text,
            provider,
            amount_cents,
            refunded_cents,
            refunded_unknown,
            currency,
            reference,
            method,
            channel,
            payer_document,
            payer_email,
            payer_phone,
            products,
            subtotal_cents,
            recovery_url,
            answers,
            flag,
            win_dated,
        ) in zip(*columns, strict=True)
    ]


def _values(column: pa.ChunkedArray) -> list[Any]:
    # Instants as integers, of which Python loses no digit.
    values: list[Any] = (column.cast(pa.int64()) if column.type == INSTANT else column).to_pylist()
    return values


def states_table(table: str, states: Sequence[State]) -> pa.Table:
    """`states`, all of one kind, as `table`."""
    kind, columns_of = STATES[table]
    columns: dict[str, Any] = {name: list(map(attrgetter(name), states)) for name in kind.__struct_fields__}
    if "payer" in columns:
        columns |= _payer_columns(columns.pop("payer"))
    for name in _LISTED & columns.keys():
        columns[name] = _listed(columns[name], columns_of.field(name).type)
    return _table(columns, columns_of)


def states_of_table(table: str, rows: pa.Table) -> Iterator[State]:
    """The states in rows of `table`: the very values that the fold gave."""
    kind, columns_of = STATES[table]
    for row in rows.cast(_raw(columns_of)).to_pylist():
        if PAYER[0] in row:
            hashes = [row.pop(name) for name in PAYER]
            row["payer"] = _payer(*hashes)
        yield msgspec.convert(row, kind)


def arrival(delivery: Delivery) -> tuple[int, int, int, str, str]:
    """The first columns of everything that a delivery brought."""
    return (
        delivery.position,
        delivery.recorded_at // 1000,
        delivery.received_at // 1000,
        delivery.source,
        delivery.account,
    )


def table_of(rows: Iterable[tuple[object, ...]], columns: pa.Schema) -> pa.Table:
    """`rows`, of which there is at least one, as a table of `columns`."""
    return _table(dict(zip(columns.names, zip(*rows, strict=True), strict=True)), columns)


def _table(columns: dict[str, Any], columns_of: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays(
        [
            column if isinstance(column, pa.Array) else pa.array(column, type=field.type)
            for field in columns_of
            for column in (columns[field.name],)
        ],
        schema=columns_of,
    )


def _payer_columns(payers: Sequence[Payer | None]) -> dict[str, list[str | None]]:
    known = [_NOBODY if payer is None else payer for payer in payers]
    return {f"payer_{name}": list(map(attrgetter(name), known)) for name in _HASHES}


def _payer(document: str | None, email: str | None, phone: str | None) -> Payer | None:
    if document is None and email is None and phone is None:
        return None
    return Payer(document=document, email=email, phone=phone)


def _listed(lists: Sequence[Sequence[msgspec.Struct] | None], of: pa.ListType) -> pa.Array:
    """A column of lists of structs, built from its parts: from dicts it would cost five times as much."""
    flat = [each for one in lists if one is not None for each in one]
    fields = list(of.value_type)
    parts = [pa.array(list(map(attrgetter(field.name), flat)), type=field.type) for field in fields]
    entries = pa.StructArray.from_arrays(parts, fields=fields)
    offsets, end = [0], 0
    for one in lists:
        end += 0 if one is None else len(one)
        offsets.append(end)
    missing = pa.array([one is None for one in lists])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries, type=of, mask=missing)


def _raw(columns_of: pa.Schema) -> pa.Schema:
    """The same columns with instants as integers, of which Python loses no digit."""
    return pa.schema([field.with_type(_raw_type(field.type)) for field in columns_of])


def _raw_type(of: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(of):
        return pa.int64()
    if pa.types.is_list(of):
        return pa.list_(of.value_field.with_type(_raw_type(of.value_type)))
    if pa.types.is_struct(of):
        return pa.struct([field.with_type(_raw_type(field.type)) for field in of])
    return of


_LISTED: Final = frozenset({"flags", "history", "payments"})
_NOBODY: Final = Payer()
_HASHES: Final = Payer.__struct_fields__
_MEMBER_NAMES: Final = Fact.__struct_fields__
_MEMBERS: Final = attrgetter(*_MEMBER_NAMES)
FACT_COLUMNS: Final = [column for name in _MEMBER_NAMES for column in (PAYER if name == "payer" else (name,))]
"""In the order in which `facts_of` takes them apart."""
