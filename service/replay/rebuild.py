"""Rebuild states from the log in a schema of their own, while the live ones go on.

The log is read once, in short pages, and its facts are sorted onto disk by root; then bucket after
bucket is folded and copied into the schema; then, where live states are followed, what they gained
meanwhile is folded delivery by delivery, until the schema stands exactly where they do.

In: the log. Out: a schema with the tables of `store.TABLES`. No event, no change of anything live.
SIGKILL at any moment leaves what is recorded in the schema, and a run with the same goal goes on there.
"""

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
import msgspec

from projections.delivery import PARTITIONS
from service.crashpoints import crashpoint
from service.errors import InvariantError, PermanentError, TransientError
from service.eventlog import head
from service.postgres import Connection, connect, connect_as_owner, sorted_errors, statement
from service.readmodels.positions import Positions
from service.replay import locks, shadow
from service.replay.catchup import CatchUp
from service.replay.crew import crew
from service.replay.gathering import segments_of
from service.replay.goal import Goal
from service.replay.jobs import Bucket, Done, Index, Job, Since, Strip, Task
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


async def build(site: Site, options: Options, *, keep_facts: bool = False) -> None:
    """Fill the schema up to the position noted in it. Raises ReciboError; run it again to go on.

    `keep_facts` leaves the segments on disk, for a verification to read them again.
    """
    phases = ("reading", "folding", "indexing", "ready")
    at = phases.index(site.progress.phase)
    spill = Spill(site.progress.folder, site.progress.buckets)
    if at < phases.index("ready"):
        async with crew(task_of(site, options), processes=options.processes) as workers:
            if at < phases.index("indexing"):
                spill.make()
                spill.keep_only(await segments_of(site.writer))
                await _read(site, workers.run)
                await _fold(site, workers.run)
            await _index(site, workers.run)
    if not keep_facts:
        spill.remove()
    site.counts.update(await _counted(site.writer))


async def _read(site: Site, run: "_Run") -> None:
    if site.progress.phase != "reading":
        return
    done = {row["number"] for row in await site.writer.fetch(statement(_SQL, "read_strips"))}
    tell = Teller(site.tell, "reading", site.progress.last_position, len(done) * site.progress.strip_rows)
    await run((Strip(number) for number in range(site.progress.strips) if number not in done), tell.rows)
    async with site.writer.transaction():
        await _note_places(site)
        await shadow.enter(site.writer, "folding")


async def _note_places(site: Site) -> None:
    """How far each partition is once its facts are folded."""
    last, vector = site.progress.last_position, site.progress.vector
    reached = dict.fromkeys(range(PARTITIONS), last)
    for row in await site.writer.fetch(statement(_SQL, "read_strips")):
        for partition, first in msgspec.json.decode(row["skipped"], type=dict[int, int]).items():
            reached[partition] = min(reached[partition], first - 1)
    folded = [last if vector is None else vector[partition] for partition in reached]
    await site.writer.execute(statement(_SQL, "write_places"), list(reached), list(reached.values()), folded)


async def _fold(site: Site, run: "_Run") -> None:
    done = {row["number"] for row in await site.writer.fetch(statement(_SQL, "read_buckets"))}
    share = site.progress.last_position / site.progress.buckets
    tell = Teller(site.tell, "folding", site.progress.last_position, int(len(done) * share))
    await run(
        (Bucket(number) for number in range(site.progress.buckets) if number not in done),
        lambda _: tell.add(share),
    )
    await shadow.enter(site.writer, "indexing")


async def _index(site: Site, run: "_Run") -> None:
    tell = Teller(site.tell, "indexing", len(shadow.BULKY), 0)
    await run((Index(number) for number in range(len(shadow.BULKY))), lambda _: tell.add(1))
    async with site.writer.transaction():
        await shadow.ready(site.writer, site.goal.schema)
        crashpoint("replay.indexed")


_Run = Callable[[Iterable[Job], Callable[[Done], None]], Awaitable[None]]


class Teller:
    """Adds up what was done of a phase, for whoever watches; tells at once that it began."""

    def __init__(self, tell: Tell, phase: str, total: int, done: int) -> None:
        self._tell = tell
        self._phase = phase
        self._total = total
        self._done = float(min(done, total))
        self.add(0)

    def rows(self, done: Done) -> None:
        """Add the rows of a strip."""
        self.add(done.counts.get("rows", 0))

    def add(self, more: float) -> None:
        """Add `more`."""
        self._done = min(self._done + more, self._total)
        self._tell(self._phase, round(self._done), self._total)


def task_of(site: Site, options: Options) -> Task:
    """What the workers of `site` need to know."""
    vector = site.progress.vector
    return Task(
        goal=site.goal,
        database_url=options.database_url,
        owner_url=options.owner_url,
        folder=str(site.progress.folder),
        strip_rows=site.progress.strip_rows,
        buckets=site.progress.buckets,
        last_position=site.progress.last_position,
        vector=None if vector is None else dict(vector),
        since=site.progress.since,
    )


async def _counted(writer: Connection) -> Counter[str]:
    counts = Counter[str]()
    for name in ("read_strips", "read_buckets"):
        for row in await writer.fetch(statement(_SQL, name)):
            counts.update(msgspec.json.decode(row["counts"], type=dict[str, int]))
    return counts


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
    async with site.owner.transaction():
        await site.positions.hold(site.owner)
        vector = await site.vector()
        newest = await site.owner.fetchrow(statement(_SQL, "newest_generation"))
        assert newest is not None
        since = Since(
            generation=newest["number"],
            positions=msgspec.json.decode(newest["positions"], type=dict[int, int]),
            event_position=newest["event_position"],
            event_end=await head.position(site.owner, "events"),
        )
    return vector, since


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
