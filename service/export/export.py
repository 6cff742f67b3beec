"""Export the log to a folder: what is new since the last time, and the states as of its end.

Full ranges of positions are sealed and never read again; the tail is, each time. Sealed ranges are joined
when there are enough of them, from their files, so that a fold has few files to walk. Files come first, the
manifest atomically after every range, so a run that was killed anywhere goes on from the last range and
ends in the same folder, byte for byte. What no manifest names is removed at the end.

A sealed range is opened again for one reason: the code has learned to read what was quarantined in it.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from projections.facts import Fact, Reading
from projections.fold import fold_version
from service.crashpoints import crashpoint
from service.errors import InvariantError, PermanentError, TransientError
from service.export.log import Log
from service.export.tables import RangeTables, read
from service.exported import pool
from service.exported.columns import STATES
from service.exported.directory import Directory
from service.exported.fold import buckets_of
from service.exported.joining import join
from service.exported.manifest import FACTS, LOG, NAME, QUARANTINE, File, Layout, Manifest, Origin, Range
from service.exported.writing import empty

_REREAD_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to export, and how."""

    personal_data: bool = False
    """Raw bodies, headers and addresses, too."""
    layout: Layout | None = None
    """Null takes what the folder has, or the default."""
    processes: int = 1
    """That fold the states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What a run came to."""

    manifest: Manifest
    positions: int
    """Exported now."""
    removed: int
    """Files that no manifest names any more."""


Told = Callable[[Progress], None]


class Export:
    """Exports one log to one folder."""

    def __init__(self, *, log: Log, folder: Directory, reading: Reading, options: Options) -> None:
        self._log = log
        self._folder = folder
        self._reading = reading
        self._options = options

    async def run(self, told: Told = lambda _: None) -> Exported:
        """Bring the folder up to the log's head. Safe to repeat."""
        if not await self._log.lock(self._folder.place):
            raise TransientError(f"another export to {self._folder.url} is running: wait for its end")
        head = await self._log.last()
        manifest = await self._begin(head)
        todo = await self._todo(manifest, head)
        positions, total = 0, sum(last - first + 1 for first, last in todo)
        for begin, end in todo:
            for first, last in manifest.layout.pieces(begin, end):
                tables = RangeTables(self._folder, manifest, self._reading, first=first)
                async for count in self._fill(tables, first, last):
                    positions += count
                    told(Progress(doing="reading the log", done=positions, total=total))
                done = await self._range(tables, first, last, manifest)
                manifest = self._joined(manifest.with_range(done, tables.files), last, told)
            self._folder.write(NAME, manifest.encode())
            crashpoint("export.range_written")
        if todo or manifest.states_at != head:
            manifest = self._fold(manifest, told)
        manifest = manifest.with_empty(self._empty_tables(manifest))
        return Exported(manifest=manifest, positions=positions, removed=self._folder.end(manifest))

    async def _begin(self, head: int) -> Manifest:
        """The folder's manifest, or a new one. Raises where the folder is of something else."""
        began_at = await self._log.recorded_at(1)
        if began_at is None:
            raise TransientError("the log is empty: there is nothing to export yet")
        origin = Origin(
            log=self._log.name,
            began_at=began_at,
            fold_version=fold_version(self._reading),
            personal_data=self._options.personal_data,
        )
        found = self._folder.manifest()
        if found is None:
            return Manifest(origin=origin, layout=self._options.layout or Layout())
        self._refuse_other(found, origin)
        if found.files and not found.ranges:
            raise PermanentError(self._other("states that a replay wrote"))
        self._folder.require_all(found)
        if found.ranges:
            last = found.ranges[-1]
            if head < last.last or await self._log.recorded_at(last.last) != last.ended_at:
                raise InvariantError(self._other("another log, or a later state of this one"))
        return found

    def _refuse_other(self, found: Manifest, origin: Origin) -> None:
        if (found.origin.log, found.origin.began_at) != (origin.log, origin.began_at):
            raise InvariantError(self._other("another log"))
        if found.origin.fold_version != origin.fold_version:
            raise PermanentError(self._other("facts as another code or payer key read them"))
        if found.origin.personal_data != origin.personal_data:
            has = "with" if found.origin.personal_data else "without"
            raise PermanentError(self._other(f"an export {has} personal data"))
        if self._options.layout not in (None, found.layout):
            raise PermanentError(self._other(f"{found.layout.buckets} buckets, and they stay"))

    def _other(self, holds: str) -> str:
        return f"{self._folder.url} holds {holds} ({NAME}): export to a new folder"

    async def _todo(self, manifest: Manifest, head: int) -> Sequence[tuple[int, int]]:
        """What to read from the log: ranges to open again, each whole, then what is new, in pieces."""
        new = [
            (first, last)
            for first, last in manifest.layout.pieces(1, head)
            if not any(held.first <= first and last <= held.last for held in manifest.ranges)
        ]
        again = [(held.first, held.last) for held in await self._readable_now(manifest)]
        # A tail that has grown is read again in any case.
        return sorted((dict(again) | dict(new)).items())

    async def _readable_now(self, manifest: Manifest) -> list[Range]:
        """The ranges in which something was quarantined that today's code can read."""
        found = []
        for held in manifest.ranges:
            positions = self._quarantined(manifest, held) if held.quarantined else []
            for start in range(0, len(positions), _REREAD_ROWS):
                deliveries = await self._log.at(positions[start : start + _REREAD_ROWS])
                if any(isinstance(fact, Fact) for fact in read(deliveries, self._reading)):
                    found.append(held)
                    break
        return found

    def _quarantined(self, manifest: Manifest, held: Range) -> list[int]:
        positions: list[int] = []
        for file in manifest.within(held.first, held.last, QUARANTINE):
            self._folder.require(file)
            with self._folder.open(file.path) as opened:
                positions += pq.read_table(opened, columns=["position"])["position"].to_pylist()
        return positions

    async def _fill(self, tables: RangeTables, first: int, last: int) -> AsyncIterator[int]:
        after = first - 1
        while after < last:
            page = await self._log.page(after, last)
            if not page or page[0].delivery.position != after + 1:
                raise InvariantError(f"the log holds no position {after + 1}: positions must be dense")
            tables.add(page)
            after = page[-1].delivery.position
            yield len(page)
        tables.flush()

    async def _range(self, tables: RangeTables, first: int, last: int, manifest: Manifest) -> Range:
        ended_at = await self._log.recorded_at(last)
        assert ended_at is not None
        return Range(
            first=first,
            last=last,
            ended_at=ended_at,
            sealed=last - first + 1 == manifest.layout.range_positions,
            facts=tables.facts,
            quarantined=tables.quarantined,
        )

    def _joined(self, manifest: Manifest, last: int, told: Told) -> Manifest:
        """The manifest with one range for those that are to become one once `last` is held."""
        joined = manifest.layout.joined_at(last)
        if joined is None:
            return manifest
        facts, buckets = [], buckets_of(manifest)
        for bucket in buckets:
            told(Progress(doing="joining files", done=bucket, total=len(buckets)))
            facts += join(self._folder, manifest, bucket, *joined)
        return manifest.with_joined(*joined, facts)

    def _fold(self, manifest: Manifest, told: Told) -> Manifest:
        # What Arrow keeps after reading is memory for those who fold now: 90 MB at ten million.
        pa.default_memory_pool().release_unused()
        total = manifest.rows().get(FACTS, 0)
        folded = pool.fold(
            self._folder,
            manifest,
            processes=self._options.processes,
            into=self._folder,
            told=lambda sofar: told(Progress(doing="folding", done=sofar.rows, total=total)),
        )
        return manifest.with_states(folded.files, folded.unfolded)

    def _empty_tables(self, manifest: Manifest) -> list[File]:
        rows = manifest.rows()
        missing = [table for table in (LOG, FACTS, QUARANTINE, *STATES) if not rows.get(table)]
        return [empty(self._folder, manifest.origin, table) for table in missing]
