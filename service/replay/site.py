"""The place of a rebuild: begun anew, found as a killed run left it, or given up.

In: a goal, and the schemas of the live states and of the rebuild. Out: connections to both, how far the
rebuild is, and what it is to reach; nothing is read of the log yet, and nothing live is changed. What a
killed run left is gone on with by the same goal, of the same log, with the same code, and by no other.
"""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from projections.delivery import PARTITIONS
from service.errors import InvariantError, PermanentError, TransientError
from service.eventlog import head
from service.postgres import Connection, connect, connect_as_owner, sorted_errors, statement
from service.readmodels.positions import Positions
from service.replay import locks, shadow
from service.replay.catchup import CatchUp
from service.replay.goal import Goal
from service.replay.holding import positions_held, retried
from service.replay.jobs import Since
from service.replay.shadow import Progress
from service.replay.spill import Spill

_SQL: Final = Path(__file__).parent
_MARK_SQL: Final = Path(head.__file__).parent

STRIP_ROWS: Final = 20_000

Tell = Callable[[str, int, int], None]
"""Hears the phase, how much of it is done, and of how much: deliveries, positions, tables or roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where and how a rebuild works."""

    database_url: str
    owner_url: str
    spill_folder: Path
    processes: int
    strip_rows: int = STRIP_ROWS
    """Positions that one job reads, and, on average, whose facts it folds: what is in memory at a time."""
    restart: bool = False
    tell: Tell = lambda _phase, _done, _total: None


@dataclass(slots=True)
class Site:
    """A rebuild under way: its connections and how far it is."""

    goal: Goal
    live: str
    """The schema of the live tables."""
    reader: Connection
    """The service's, on the live schema."""
    owner: "asyncpg.Connection[asyncpg.Record]"
    """The owner's, on the live schema."""
    writer: "asyncpg.Connection[asyncpg.Record]"
    """The owner's, on the schema that is filled and no other."""
    positions: Positions
    progress: Progress
    counts: Counter[str]
    """What the log held, and what became of it."""
    tell: Tell

    @property
    def catch_up(self) -> CatchUp:
        return CatchUp(goal=self.goal, reader=self.reader, writer=self.writer)

    async def vector(self) -> dict[int, int]:
        """Where the live states stand, partition by partition."""
        if self.goal.state_lost:
            end = await head.position(self.reader, "deliveries")
            return dict.fromkeys(range(PARTITIONS), end)
        found = await self.positions.vector(self.reader)
        return {partition: found.get(partition, 0) for partition in range(PARTITIONS)}


@asynccontextmanager
async def site(goal: Goal, options: Options) -> AsyncIterator[Site]:
    """The place of a rebuild, new or as a killed run left it. Nothing is read yet.

    Raises PermanentError where what is there is another rebuild's, TransientError while one runs.
    """
    reader = await connect(options.database_url, application="replay")
    owner = await connect_as_owner(options.owner_url, application="replay")
    writer = await connect_as_owner(options.owner_url, application="replay", schema=goal.schema)
    try:
        with sorted_errors(lost=TransientError):
            await locks.own(owner, goal.schema)
            found = Site(
                goal=goal,
                live=await shadow.live_schema(owner),
                reader=reader,
                owner=owner,
                writer=writer,
                positions=Positions(log=goal.log, fold_version=goal.fold_version),
                progress=None,  # type: ignore[arg-type]  # Known in a moment.
                counts=Counter(),
                tell=options.tell,
            )
            found.progress = await _resumed(found, options) or await _begun(found, options)
            yield found
    finally:
        for connection in (writer, owner, reader):
            connection.terminate()


@asynccontextmanager
async def owner_of(owner_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A connection as the owner, on the live schema."""
    connection = await connect_as_owner(owner_url, application="replay")
    try:
        with sorted_errors(lost=TransientError):
            yield connection
    finally:
        connection.terminate()


async def _resumed(site: Site, options: Options) -> Progress | None:
    """What a killed run left, if it is of the same goal."""
    schema = site.goal.schema
    if options.restart:
        await _drop(site.writer, schema)
        return None
    found = await shadow.progress_in(site.writer, schema)
    if found is None:
        return None
    wanted = shadow.noted(site.goal)
    if found.goal.fold_version != wanted.fold_version:
        raise PermanentError(
            f"the schema {schema} was folded by version {found.goal.fold_version}, this code folds by "
            f"{wanted.fold_version}: start anew with --restart"
        )
    if found.goal.code != wanted.code:
        raise PermanentError(
            f"the schema {schema} was begun by other code, which may have read or folded less: start anew "
            "with --restart"
        )
    if found.goal != wanted:
        raise PermanentError(
            f"the schema {schema} holds what a `recibo replay {found.goal.purpose.replace('_', '-')}` left "
            "that asked for something else: finish that one, or drop it by starting anew with --restart"
        )
    if await _mark(site.reader, found.last_position) != found.last_mark:
        raise PermanentError(f"the schema {schema} is of another log: start anew with --restart")
    await _check_not_behind(site)
    return found


async def _check_not_behind(site: Site) -> None:
    if site.goal.purpose == "as_of":
        return
    vector = await site.vector()
    for row in await site.writer.fetch(statement(_SQL, "read_places")):
        if row["folded"] > vector[row["partition"]]:
            raise InvariantError(
                f"partition {row['partition']} is live up to {vector[row['partition']]}, in the schema "
                f"{site.goal.schema} up to {row['folded']}: the live states went back; start anew with "
                "--restart"
            )


async def _begun(site: Site, options: Options) -> Progress:
    goal = site.goal
    vector: dict[int, int] | None = None
    since = None
    last = goal.position
    if last is None:
        await _check_live(site)
        vector, since = await _vector_and_outbox(site)
        last = max(vector.values())
        vector = None if goal.state_lost else vector
    if goal.purpose == "verify":
        last = await head.position(site.reader, "deliveries")
    token = secrets.token_hex(8)
    progress = Progress(
        goal=shadow.noted(goal),
        token=token,
        folder=options.spill_folder.absolute() / f"recibo-replay-{token}",
        last_position=last,
        last_mark=await _mark(site.reader, last),
        vector=vector,
        since=since,
        strip_rows=options.strip_rows,
        buckets=max(1, -(-last // options.strip_rows)),
        phase="reading",
    )
    await shadow.make(site.writer, goal.schema, site.live, progress)
    return progress


async def _vector_and_outbox(site: Site) -> tuple[dict[int, int], Since]:
    """Where the live states stand, what the last swap left, and how far the outbox is at that very moment."""

    async def attempt(_number: int) -> tuple[dict[int, int], Since]:
        async with positions_held(site.owner, site.positions):
            vector = await site.vector()
            newest = await site.owner.fetchrow(statement(_SQL, "newest_generation"))
            assert newest is not None
            return vector, Since(
                generation=newest["number"],
                positions=msgspec.json.decode(newest["positions"], type=dict[int, int]),
                event_position=newest["event_position"],
                event_end=await head.position(site.owner, "events"),
            )

    return await retried(attempt, site.tell)


async def _check_live(site: Site) -> None:
    """There must be live states to follow, or nothing that they could be of, or they are said to be lost."""
    known = await site.positions.vector(site.reader)
    if site.goal.state_lost and known:
        raise PermanentError(
            "projector_position has rows, so the live states are not lost: rebuild without --state-lost, or, "
            "if the tables were emptied by hand, stop the projectors and empty that one as well"
        )
    if not known and not site.goal.state_lost and await head.position(site.reader, "deliveries"):
        raise PermanentError(
            "no partition was ever folded: start a projector; or, if the states were lost with "
            "projector_position, stop all projectors and rebuild with --state-lost"
        )


async def end_left(owner_url: str, schema: str) -> int | None:
    """Where the log ended for a killed run that was to fill `schema` as of now; null where none left any.

    Raises PermanentError if the schema is somebody else's.
    """
    writer = await connect_as_owner(owner_url, application="replay", schema=schema)
    try:
        with sorted_errors(lost=TransientError):
            found = await shadow.progress_in(writer, schema)
    finally:
        writer.terminate()
    return found.goal.position if found is not None and found.goal.of_now else None


async def discard(owner_url: str, schema: str) -> bool:
    """Drop what an unfinished rebuild left in `schema`; whether there was any.

    Raises PermanentError if it is somebody else's, TransientError while a rebuild works on it.
    """
    writer = await connect_as_owner(owner_url, application="replay", schema=schema)
    try:
        with sorted_errors(lost=TransientError):
            await locks.own(writer, schema)
            return await _drop(writer, schema)
    finally:
        writer.terminate()


async def _drop(writer: Connection, schema: str) -> bool:
    found = await shadow.progress_in(writer, schema)
    if found is None:
        return False
    await shadow.drop(writer, schema)
    Spill(found.folder, found.buckets).remove()
    return True


async def _mark(connection: Connection, position: int) -> str:
    row = await connection.fetchrow(statement(_MARK_SQL, "delivery_mark"), position)
    return "" if row is None else f"{row['recorded_at'].isoformat()} {row['fingerprint']}"
