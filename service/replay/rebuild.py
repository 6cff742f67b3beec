"""Rebuild states from the log in a schema of their own, while the live ones go on.

The log is read once, in short pages, and its facts are sorted onto disk by root; then bucket after
bucket is folded and copied into the schema; then, where live states are followed, what they gained
meanwhile is folded delivery by delivery, until the schema stands exactly where they do.

In: the log. Out: a schema with the tables of `store.TABLES`. No event, no change of anything live.
SIGKILL at any moment leaves what is recorded in the schema, and a run with the same goal goes on there.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec

from projections.delivery import PARTITIONS
from service.crashpoints import crashpoint
from service.postgres import Connection, statement
from service.replay import shadow
from service.replay.crew import crew
from service.replay.gathering import segments_of
from service.replay.jobs import Bucket, Done, Index, Job, Strip, Task
from service.replay.site import Options, Site, Tell
from service.replay.spill import Spill

_SQL: Final = Path(__file__).parent


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
