"""What replay stands beside, for tests: a log with the lives of all four providers, and live states of it."""

import datetime as dt
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import orjson

from projections.delivery import PARTITIONS, routing_key
from projections.delivery import Delivery as Logged
from projections.events import outgoing
from projections.facts import Fact, Reading, Unreadable
from projections.fold import Root, fold_version, interpret
from projections.providers import root_of
from projections.states import States
from service.eventlog import head
from service.eventlog import reader as log_reader
from service.eventlog.deliveries import NewDelivery, append_batch
from service.kafka.partitioner import partition_of
from service.postgres import Connection, connect
from service.readmodels.apply import Folder
from service.readmodels.positions import Place, Positions
from service.replay import shadow
from service.replay.compare import Compared, compare
from service.replay.goal import PREVIOUS, SHADOW, Goal, Purpose
from service.replay.rebuild import build
from service.replay.site import Options, Site, site
from service.replay.swap import Swapped, swap
from service.replay.verify import Verified, verify
from service.simulation.mixing import Delivery, Mixture
from service.simulation.scenarios import deliveries
from tests.facts import delivery

SOURCES = (("barte", "barte"), ("admin", "admin"), ("gen", "gen"), ("aprovei", "aprovei"))
MIXTURE = Mixture(duplicates=0.05, reordered=0.05, unknown=0.01)
RECEIVED = dt.datetime(2025, 11, 3, 12, 0, 0, tzinfo=dt.UTC)


def lives(count: int, *, seed: int = 1, mixture: Mixture = MIXTURE) -> list[NewDelivery]:
    """Rows for the log, as the ingress would store them."""
    return [row_of(each) for each in islice(deliveries(seed, SOURCES, mixture), count)]


def row_of(told: Delivery) -> NewDelivery:
    """The row of a simulated delivery."""
    try:
        root = root_of(told.source, told.source, orjson.loads(told.body), told.kind)
    except Unreadable:
        root = None
    return NewDelivery(
        source=told.source,
        account=told.source,
        provider=told.source,
        root=root,
        kind=told.kind,
        received_at=RECEIVED,
        trust="none",
        remote_ip=None,
        headers="{}",
        body=told.body,
        body_sha256=hashlib.sha256(told.body).digest(),
    )


async def append(database_url: str, rows: Sequence[NewDelivery], *, batch: int = 200) -> None:
    """Put `rows` into the log, `batch` of them an instant."""
    connection = await connect(database_url, application="test")
    for first in range(0, len(rows), batch):
        await append_batch(connection, rows[first : first + batch])
    await connection.close()


class LiveFold:
    """What the projector writes, straight from the log: states, outbox, positions, page by page.

    For tests that are not about Kafka.
    """

    def __init__(self, connection: Connection, reading: Reading, version: str | None = None) -> None:
        self._connection = connection
        self._folder = Folder(log="main", reading=reading)
        self._positions = Positions(log="main", fold_version=version or fold_version(reading))
        self._places: dict[int, Place] = {}

    async def up_to(
        self, position: int, *, partitions: Sequence[int] = range(PARTITIONS), page: int = 100
    ) -> None:
        """Fold the log up to `position`, only what belongs to `partitions`."""
        places = self._places
        if not places:
            places.update(await self._positions.places(self._connection, list(range(PARTITIONS))))
        after = min(places[at].position for at in partitions)
        while after < position:
            rows = await log_reader.between(
                self._connection, after=after, up_to=position, rows_max=page, bytes_max=10_000_000
            )
            ours = [
                row
                for row in rows
                if (at := partition_of(routing_key(row.root, row.position))) in partitions
                and row.position > places[at].position
            ]
            moved = {
                partition_of(routing_key(row.root, row.position)): Place(
                    position=row.position, kafka_offset=0
                )
                for row in ours
            }
            if moved:
                async with self._connection.transaction():
                    generation = await self._positions.lock(
                        self._connection, {at: places[at] for at in moved}
                    )
                    await self._positions.advance(self._connection, moved)
                    await self._folder.apply(self._connection, ours, generation=generation)
                places.update(moved)
            after = rows[-1].position


async def fold_live(
    database_url: str, *, up_to: int | None = None, reading: Reading | None = None, page: int = 100
) -> None:
    """Fold the log, as far as it goes by default, into the live states."""
    connection = await connect(database_url, application="test")
    try:
        end = await head.position(connection, "deliveries") if up_to is None else up_to
        await LiveFold(connection, reading or Reading()).up_to(end, page=page)
    finally:
        await connection.close()


@asynccontextmanager
async def rebuilding(
    database_url: str,
    folder: Path,
    *,
    reading: Reading | None = None,
    purpose: Purpose = "rebuild",
    state_lost: bool = False,
    restart: bool = False,
    strip_rows: int = 500,
    processes: int = 1,
) -> AsyncIterator[tuple[Site, Options]]:
    """The place of a rebuild of log `main`, in strips so short that there are several."""
    goal = Goal(
        purpose=purpose, schema=SHADOW, log="main", reading=reading or Reading(), state_lost=state_lost
    )
    options = Options(
        database_url=database_url,
        owner_url=database_url,
        spill_folder=folder,
        processes=processes,
        restart=restart,
        strip_rows=strip_rows,
    )
    async with site(goal, options) as opened:
        yield opened, options


async def compared(database_url: str, folder: Path, *, reading: Reading | None = None) -> Compared:
    """Rebuild anew, and compare."""
    async with rebuilding(database_url, folder, reading=reading, restart=True) as (place, options):
        await build(place, options)
        return await compare(place, listed_max=10)


async def swapped(
    database_url: str,
    folder: Path,
    *,
    reading: Reading | None = None,
    publish_amendments: bool = False,
    state_lost: bool = False,
) -> Swapped:
    """Rebuild anew, and swap; what was live before goes."""
    async with rebuilding(database_url, folder, reading=reading, state_lost=state_lost, restart=True) as (
        place,
        options,
    ):
        await shadow.drop(place.owner, PREVIOUS)
        await build(place, options)
        return await swap(place, publish_amendments=publish_amendments)


async def verified(database_url: str, folder: Path, *, reading: Reading | None = None) -> Verified:
    """Verify the live states."""
    async with rebuilding(database_url, folder, reading=reading, purpose="verify") as (place, options):
        return await verify(place, options, listed_max=10)


async def naive_states(
    connection: Connection,
    *,
    reading: Reading | None = None,
    up_to: int | None = None,
    effective_at: int | None = None,
) -> dict[str, States]:
    """Each root's states by the log, folded delivery by delivery, with nothing but the projections.

    What is known by the position `up_to` of what had happened by `effective_at`, where given; a repeat that
    dates a fact anew makes no difference to that here.
    """
    roots: dict[str, Root] = {}
    for position, fact in await facts_in(connection, reading or Reading()):
        if (up_to is None or position <= up_to) and (
            effective_at is None or fact.occurred_at <= effective_at
        ):
            root = roots.get(fact.root) or Root.decode(fact.root, None)
            roots[fact.root] = root.join(fact)
    return {name: root.states for name, root in roots.items()}


async def naive_ids(
    connection: Connection, generation_of: Callable[[int, str], int], *, reading: Reading | None = None
) -> dict[str, list[str]]:
    """Each root's event ids that folding the log in order yields; the generation by position and root."""
    roots: dict[str, Root] = {}
    ids: dict[str, list[str]] = {}
    for position, fact in await facts_in(connection, reading or Reading()):
        before = roots.get(fact.root) or Root.decode(fact.root, None)
        after = roots[fact.root] = before.join(fact)
        told = outgoing(
            before,
            after,
            fact=fact,
            delivery=delivery(position, fact.root),
            log="main",
            generation=generation_of(position, fact.root),
        )
        ids.setdefault(fact.root, []).extend(event.id for event in told)
    return ids


async def told_ids(connection: Connection) -> dict[str, list[str]]:
    """Each root's ids in the outbox, in its order; what was quarantined apart."""
    ids: dict[str, list[str]] = {}
    for row in await connection.fetch(
        "select partition_key, event_id from event_log where topic <> 'webhooks.quarantine' order by position"
    ):
        ids.setdefault(row["partition_key"], []).append(row["event_id"])
    return ids


async def whole_log(connection: Connection) -> list[Logged]:
    """All deliveries of the log, in its order."""
    last = await head.position(connection, "deliveries")
    return await log_reader.between(connection, after=0, up_to=last, rows_max=last, bytes_max=1_000_000_000)


async def facts_in(connection: Connection, reading: Reading) -> list[tuple[int, Fact]]:
    """What can be read in the log, with its positions."""
    facts = []
    for row in await whole_log(connection):
        try:
            facts.append((row.position, interpret(row, reading)))
        except Unreadable:
            continue
    return facts
