"""Reads what the checker needs: ledger files, the ingress's log lines, Postgres. In pages, never whole.

The queries name tables and columns of `migrations/`; nothing else of the system is known here.
"""

import base64
import datetime as dt
import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from sys import intern
from typing import Final, NamedTuple, TypeAlias

import asyncpg
import orjson

from tests.checker.accounts import Request
from tests.checker.events import Generation
from tests.checker.facts import Row

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STATE_TABLES: Final = (
    "order_state",
    "dispute_state",
    "subscription_state",
    "withdrawal_state",
    "cart_state",
)
_ROWS_PER_PAGE: Final = 250
"""Of deliveries, which may hold a mebibyte each."""
_STATES_PER_PAGE: Final = 2000
_JSON_COLUMNS: Final = ("flags", "history", "payments")
_UNKNOWN: Final = b"ingress.outcome_unknown"
_COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*m")
_DIGEST: Final = re.compile(rb'body_sha256["\s:=]+([0-9a-f]{64})')
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def requests(ledger: Path) -> Iterator[Request]:
    """The lines of a ledger; one that a crash cut off at the end is left out."""
    with ledger.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                told = orjson.loads(line)
                digest = hashlib.sha256(base64.b64decode(told["body"])).digest()
                yield Request(intern(told["source"]), told["kind"], digest, told["status"], told["receipt"])


def unknown_outcomes(log_file: Path) -> Iterator[bytes]:
    """The digests of the deliveries of which an ingress did not know whether they were stored."""
    with log_file.open("rb") as lines:
        for line in lines:
            if _UNKNOWN in line and (found := _DIGEST.search(_COLOUR.sub(b"", line))):
                yield bytes.fromhex(found[1].decode())


async def deliveries(connection: Connection) -> AsyncIterator[Row]:
    """The rows of the log, in order."""
    after = 0
    while page := await connection.fetch(
        "select position, source, account, provider, root, kind, recorded_at, body from delivery_log"
        " where position > $1 order by position limit $2",
        after,
        _ROWS_PER_PAGE,
    ):
        for found in page:
            yield Row(
                position=found["position"],
                source=intern(found["source"]),
                account=intern(found["account"]),
                provider=intern(found["provider"]),
                root=found["root"] and intern(found["root"]),
                kind=found["kind"] and intern(found["kind"]),
                recorded_at=nanoseconds(found["recorded_at"]),
                body=found["body"],
            )
        after = page[-1]["position"]


async def refused(connection: Connection) -> list[asyncpg.Record]:
    """The deliveries that the log could not hold, in order."""
    return await connection.fetch(
        "select number, source, kind, provider, sha256(body) as digest from refused_delivery order by number"
    )


class EventRow(NamedTuple):
    """A row of the event log."""

    position: int
    topic: str
    key: str
    partition_key: str
    event_id: str
    event_type: str | None
    value_sha256: bytes | None


async def events(connection: Connection) -> AsyncIterator[EventRow]:
    """The rows of the event log, in order."""
    after = 0
    while page := await connection.fetch(
        "select position, topic, key, partition_key, event_id, headers ->> 'ce_type' as event_type,"
        " sha256(value) as value_sha256"
        " from event_log where position > $1 order by position limit $2",
        after,
        _STATES_PER_PAGE,
    ):
        for found in page:
            yield EventRow(
                found["position"],
                intern(found["topic"]),
                found["key"],
                found["partition_key"],
                found["event_id"],
                found["event_type"],
                found["value_sha256"],
            )
        after = page[-1]["position"]


async def states(connection: Connection, table: str) -> AsyncIterator[dict[str, object]]:
    """The rows of a state table, their JSON columns parsed."""
    ordinal = ", ordinal" if table == "dispute_state" else ""
    after: tuple[object, ...] = ("", 0) if ordinal else ("",)
    marks = "$2, $3" if ordinal else "$2"
    while page := await connection.fetch(
        f"select * from {table} where (root{ordinal}) > ({marks}) order by root{ordinal} limit $1",
        _STATES_PER_PAGE,
        *after,
    ):
        for found in page:
            row = dict(found)
            row |= {name: orjson.loads(row[name]) for name in _JSON_COLUMNS if row.get(name) is not None}
            yield row
        last = page[-1]
        after = (last["root"], last["ordinal"]) if ordinal else (last["root"],)


async def heads(connection: Connection) -> dict[str, int]:
    """The last position of each log, by its head row."""
    found = await connection.fetch("select log, last_position from log_head")
    return {row["log"]: row["last_position"] for row in found}


async def generations(connection: Connection) -> list[Generation]:
    """Every swap, and the beginning."""
    found = await connection.fetch("select number, positions from generation")
    return [
        Generation(row["number"], {int(at): last for at, last in orjson.loads(row["positions"]).items()})
        for row in found
    ]


async def quarantined(connection: Connection, log: str) -> set[int]:
    """The positions of the deliveries in quarantine."""
    found = await connection.fetch("select position from quarantine where log = $1", log)
    return {row["position"] for row in found}


class Parked(NamedTuple):
    """A root that waits for a repair."""

    reason: str
    positions: frozenset[int]
    """The deliveries that wait with it."""


async def parked(connection: Connection, log: str) -> dict[str, Parked]:
    """The roots that wait for a repair."""
    found = await connection.fetch("select root, reason, positions from parked_root where log = $1", log)
    return {row["root"]: Parked(row["reason"], frozenset(row["positions"])) for row in found}


def nanoseconds(instant: dt.datetime) -> int:
    """Since the epoch."""
    return (instant - _EPOCH) // dt.timedelta(microseconds=1) * 1000
