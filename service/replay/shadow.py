"""A schema with tables like the live ones, and the notes of the rebuild that fills it.

Made and dropped as the owner, each in one transaction: a crash leaves a schema whose notes tell what it
is, or none.
"""

import functools
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

import projections
from service.errors import PermanentError
from service.postgres import Connection, literal, quoted, statement
from service.readmodels.store import STATE_TABLES, TABLES
from service.replay.goal import PREVIOUS, SHADOW, Goal
from service.replay.holding import locking
from service.replay.jobs import Since

_SQL: Final = Path(__file__).parent

BULKY: Final = ("timeline", *STATE_TABLES)
"""Filled by COPY, which is faster without an index. The largest come first."""
_SMALL: Final = tuple(table for table in TABLES if table not in BULKY)

_LISTED_MAX: Final = 20

ANALYST: Final = "recibo_analyst"
"""The role of those who read states in SQL."""

NOTES: Final = (
    "progress",
    "strip",
    "bucket",
    "place",
    "touched",
    "difference",
    "excused",
    "event_strip",
    "told_quarantine",
    "taken_over",
    "misnamed",
)
"""The tables that are the rebuild's own."""


class Noted(msgspec.Struct, frozen=True, kw_only=True):
    """A goal as it is noted: without what is secret in its reading, which the fold version covers."""

    purpose: str
    log: str
    fold_version: str
    position: int | None
    effective_at: int | None
    state_lost: bool
    of_now: bool = False
    code: str = ""
    """`code()` of whoever began it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is rebuilt in a schema, and how far it is."""

    goal: Noted
    token: str
    folder: Path
    last_position: int
    last_mark: str
    vector: Mapping[int, int] | None
    since: Since | None
    """Of a verification: the last swap, and how far the outbox went at `vector`."""
    strip_rows: int
    """Positions that one job reads."""
    buckets: int
    phase: str

    @property
    def strips(self) -> int:
        """How many jobs read the log."""
        return -(-self.last_position // self.strip_rows)


def noted(goal: Goal) -> Noted:
    """The goal as it is noted."""
    return Noted(
        purpose=goal.purpose,
        log=goal.log,
        fold_version=goal.fold_version,
        position=goal.position,
        effective_at=goal.effective_at,
        state_lost=goal.state_lost,
        of_now=goal.of_now,
        code=code(),
    )


@functools.cache
def code() -> str:
    """What tells these projections from others, which may read or fold more: 16 hex digits of a digest.

    Of their sources. The fold version does not, for learning to read an unknown does not raise it.
    """
    folder, digest = Path(projections.__file__).parent, hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


async def exists(connection: Connection, schema: str) -> bool:
    """Whether there is a schema of that name."""
    found: bool = await connection.fetchval(statement(_SQL, "schema_exists"), schema)
    return found


async def progress_in(connection: Connection, schema: str) -> Progress | None:
    """What is rebuilt in `schema`, which is the only one on the search path; null without a schema.

    Raises PermanentError if it is none of ours.
    """
    if not await exists(connection, schema):
        return None
    try:
        row = await connection.fetchrow(statement(_SQL, "read_progress"))
    except asyncpg.UndefinedTableError:
        row = None
    if row is None:
        raise PermanentError(f"the schema {schema} was not made by an unfinished rebuild: name or drop it")
    return Progress(
        goal=msgspec.json.decode(row["goal"], type=Noted),
        token=row["token"],
        folder=Path(row["folder"]),
        last_position=row["last_position"],
        last_mark=row["last_mark"],
        vector=msgspec.json.decode(row["vector"], type=dict[int, int] | None),
        since=msgspec.json.decode(row["since"], type=Since | None),
        strip_rows=row["strip_rows"],
        buckets=row["buckets"],
        phase=row["phase"],
    )


async def make(connection: Connection, schema: str, live: str, progress: Progress) -> None:
    """Make `schema`, the only one on the search path, with empty tables like those of `live`."""
    async with connection.transaction():
        await connection.execute(f"create schema {quoted(schema)}")
        for table in NOTES:
            await connection.execute(statement(_SQL, f"create_{table}"))
        await _run(connection, TABLES, live, schema, index=False)
        await _run(connection, _SMALL, live, schema, index=True)
        await connection.execute(
            statement(_SQL, "write_progress"),
            msgspec.json.encode(progress.goal).decode(),
            progress.token,
            str(progress.folder),
            progress.last_position,
            progress.last_mark,
            msgspec.json.encode(progress.vector).decode(),
            msgspec.json.encode(progress.since).decode(),
            progress.strip_rows,
            progress.buckets,
        )


async def index(connection: Connection, schema: str, live: str, table: str) -> None:
    """Give a filled table the keys and indexes of the live one, unless it has them, in one transaction."""
    async with connection.transaction():
        if not await connection.fetchval(statement(_SQL, "has_key"), schema, table):
            await _run(connection, [table], live, schema, index=True)
            await _analyze(connection, schema, [table])


async def ready(connection: Connection, schema: str) -> None:
    """Note that the schema, whose tables have their indexes, is ready, in the caller's transaction."""
    await _analyze(connection, schema, _SMALL)
    await enter(connection, "ready")


async def _analyze(connection: Connection, schema: str, tables: Sequence[str]) -> None:
    for table in tables:
        await connection.execute(f"analyze {quoted(schema)}.{quoted(table)}")


async def enter(connection: Connection, phase: str) -> None:
    """Note that the rebuild has come to `phase`."""
    await connection.execute(statement(_SQL, "enter_phase"), phase)


async def finish(connection: Connection, schema: str, comment: str) -> None:
    """Make a filled `schema`, the only one on the search path, what analysts may read: no notes are left."""
    async with connection.transaction():
        for table in (*NOTES, "retried_delivery"):
            await connection.execute(f"drop table {quoted(table)}")
        await connection.execute(f"comment on schema {quoted(schema)} is {literal(comment)}")
        await connection.execute(f"grant usage on schema {quoted(schema)} to {ANALYST}")
        await connection.execute(f"grant select on all tables in schema {quoted(schema)} to {ANALYST}")


async def drop(connection: Connection, schema: str) -> None:
    """Drop `schema` with all that is in it. Only ever one that a rebuild made."""
    await connection.execute(f"drop schema if exists {quoted(schema)} cascade")


async def refuse_losses(connection: Connection, live: str) -> None:
    """Raises PermanentError for what a swap would lose: whatever hangs on a live table and is not copied."""
    lost = await connection.fetch(statement(_SQL, "lost_in_a_swap"), list(TABLES), live)
    if lost:
        raise PermanentError(
            f"a swap would lose {_listed(row['what'] for row in lost)}: drop or undo that, swap, and make "
            "it again on the new tables; a materialized view may read a view instead"
        )


async def refuse_other_forms(connection: Connection, live: str) -> None:
    """Raises PermanentError where a rebuilt table is not made like the live one, which was altered since."""
    schemas = (live, SHADOW)
    was, is_now = [
        {tuple(row) for row in await connection.fetch(statement(_SQL, "forms"), list(TABLES), schema)}
        for schema in schemas
    ]
    if others := sorted({name for name, _ in was ^ is_now}):
        raise PermanentError(
            f"the rebuilt tables differ from the live ones in {_listed(others)}: if the live ones were "
            "altered since the rebuild began, start anew with --restart; if not, undo that, swap, and do it "
            "again"
        )


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    more = f" and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else ""
    return ", ".join(found[:_LISTED_MAX]) + more


async def exchange(connection: Connection, live: str, *, renew: Callable[[], Awaitable[None]]) -> None:
    """Make the shadow's tables the live ones, and these the previous ones, in the caller's transaction.

    Takes access exclusive locks on all tables first, in one order, then on the views that read them: a view
    stays itself and reads what is live. The tables get the rights that the live ones have now. From the first
    lock on readers wait, so `renew` limits the rest; it is awaited before each view. Raises PermanentError
    for what would be lost.
    """
    names = [f"{quoted(schema)}.{quoted(table)}" for table in TABLES for schema in (live, SHADOW)]
    async with locking(connection):
        await connection.execute(f"lock table {', '.join(names)} in access exclusive mode")
    await renew()
    await refuse_losses(connection, live)
    await refuse_other_forms(connection, live)
    await connection.execute("set local search_path to pg_catalog")
    views = await connection.fetch(statement(_SQL, "views_on_tables"), list(TABLES), live)
    rights = await connection.fetch(statement(_SQL, "copy_rights"), list(TABLES), live, SHADOW)
    await connection.execute("; ".join(row["statement"] for row in rights))
    await connection.execute(f"create schema {PREVIOUS}")
    for table in TABLES:
        await connection.execute(f"alter table {quoted(live)}.{quoted(table)} set schema {PREVIOUS}")
        await connection.execute(f"alter table {SHADOW}.{quoted(table)} set schema {quoted(live)}")
    for view in views:
        # A view is bound to tables, not names: its own text, said again, binds it to the new ones.
        await renew()
        options = f" with ({view['options']})" if view["options"] else ""
        await connection.execute(f"create or replace view {view['name']}{options} as {view['definition']}")
    await renew()
    await connection.execute("set local search_path to default")


async def live_schema(connection: Connection) -> str:
    """Where the live tables are."""
    found: str = await connection.fetchval("select current_schema()::text")
    return found


async def _run(connection: Connection, tables: Sequence[str], live: str, schema: str, *, index: bool) -> None:
    rows = await connection.fetch(statement(_SQL, "make_tables"), list(tables), live, schema, index)
    for row in rows:
        await connection.execute(row["statement"])
