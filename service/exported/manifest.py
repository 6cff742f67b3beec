"""The manifest: which files make up an export, and what of the log they hold.

Positions are dense, so completeness is arithmetic: the ranges follow each other from 1 on, each holds as
many log rows as it has positions, and each of these is either a fact or quarantined. Values only.

The same log, code and layout give the same manifest, byte for byte: no clock is in it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Self

import msgspec

from service.errors import InvariantError

FORMAT: Final = 1
"""Rises with a change that an older reader would misread."""

NAME: Final = "manifest.json"

_JOINED_AT_ONCE: Final = 4
_JOINED_MAX: Final = 16
"""Of the ranges that are read from the log: beyond it, facts would be written again for few files less."""

LOG: Final = "log"
FACTS: Final = "facts"
QUARANTINE: Final = "quarantine"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How an export is cut. Fixed by the first export into a folder."""

    buckets: int = 16
    """A row is in bucket crc32(root) modulo this; as many processes can fold the folder at once."""
    range_positions: int = 250_000
    """A full range is sealed: the log is not read again for it."""

    def pieces(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges, first and last position, in which `first` to `last` are read from the log."""
        size = self.range_positions
        return [(start, min(start + size - 1, last)) for start in range(first, last + 1, size)]

    def joined_at(self, last: int) -> tuple[int, int] | None:
        """The positions whose sealed ranges become one once `last` ends one; null where they do not.

        Four do, then four of those, up to 16: like the levels of an LSM tree, so that a log has few
        files, whatever its length, and no position's facts are written more than three times.
        """
        size, largest = self.range_positions, self.range_positions * _JOINED_MAX
        while size < largest and last % (size * _JOINED_AT_ONCE) == 0:
            size *= _JOINED_AT_ONCE
        return None if size == self.range_positions else (last - size + 1, last)


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Which log, read by which code, an export is of."""

    log: str
    began_at: int
    """When position 1 was recorded, nanoseconds since the epoch: what tells a log from another."""
    fold_version: str
    personal_data: bool


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """Two questions: what the log held by then, and what had happened by then. Nanoseconds, UTC."""

    known_at: int | None = None
    effective_at: int | None = None


NOW: Final = AsOf()


class Content(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """What one file of states holds, whoever wrote it and however."""

    table: str
    bucket: int
    rows: int
    sha256: str
    """Of the states as `msgspec.json.encode` gives them, a line each: equal means byte for byte."""


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the export."""

    path: str
    """Below the folder; it ends in the beginning of the sha256, so no name has two contents."""
    table: str
    bucket: int | None
    first: int
    """Of the positions that it is drawn from."""
    last: int
    rows: int
    bytes: int
    sha256: str
    content: Content | None = None
    """Of a file of states."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """Positions that were exported together, or joined later."""

    first: int
    last: int
    ended_at: int
    """When `last` was recorded, nanoseconds since the epoch."""
    sealed: bool
    facts: int
    quarantined: int

    @property
    def positions(self) -> int:
        return self.last - self.first + 1


class Unfolded(msgspec.Struct, frozen=True, kw_only=True):
    """A root whose fold raised: it has facts and no state."""

    root: str
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an export holds."""

    format: int = FORMAT
    origin: Origin
    layout: Layout
    ranges: tuple[Range, ...] = ()
    states_at: int = 0
    """The position that the states stand at; below the last one where an export was cut short.

    Below a range that was opened again, too: its facts are others than the states know.
    """
    as_of: AsOf = NOW
    """Of states that a replay wrote; those of an export are as of its last position."""
    unfolded: tuple[Unfolded, ...] = ()
    files: tuple[File, ...] = ()

    @classmethod
    def decode(cls, document: bytes) -> Self:
        """What `encode` gave. Raises InvariantError for anything else."""
        try:
            # The format first: what another one holds is not for this code to judge.
            found = msgspec.json.decode(document, type=_Format).format
            if found != FORMAT:
                raise InvariantError(f"{NAME} is of format {found}, this code reads {FORMAT}")
            return msgspec.json.decode(document, type=cls)
        except msgspec.DecodeError as error:
            raise InvariantError(
                f"{NAME} is damaged ({error}): export to a new folder, or bring back the whole old one"
            ) from None

    def encode(self) -> bytes:
        """The manifest as it is stored, for people, too."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @property
    def last(self) -> int:
        """The last position that is exported; 0 for none."""
        return self.ranges[-1].last if self.ranges else 0

    def of(self, table: str, bucket: int | None = None) -> list[File]:
        """The files of `table`, of one bucket or of all, by position."""
        return [file for file in self.files if file.table == table and bucket in (None, file.bucket)]

    def within(self, first: int, last: int, table: str, bucket: int | None = None) -> list[File]:
        """Those of them that hold no position but `first` to `last`."""
        return [file for file in self.of(table, bucket) if first <= file.first and file.last <= last]

    def contents(self) -> list[Content]:
        """What the states are, file by file."""
        return sorted(file.content for file in self.files if file.content is not None)

    def rows(self) -> dict[str, int]:
        """Table → rows."""
        counted: Counter[str] = Counter()
        for file in self.files:
            counted[file.table] += file.rows
        return dict(sorted(counted.items()))

    def with_range(self, new: Range, files: Iterable[File]) -> Self:
        """The manifest with `new` in place of every range that holds a position of it."""
        old = [held for held in self.ranges if held.first <= new.last and new.first <= held.last]
        kept = [file for file in self.files if not any(_drawn_from(file, held) for held in old)]
        ranges = sorted([*(held for held in self.ranges if held not in old), new], key=_first)
        return msgspec.structs.replace(
            self,
            ranges=tuple(ranges),
            files=tuple(sorted([*kept, *files], key=_place)),
            states_at=min(self.states_at, new.first - 1),
        )

    def with_joined(self, first: int, last: int, facts: Iterable[File]) -> Self:
        """The manifest with one range from `first` to `last`, with these files of facts."""
        joined = [held for held in self.ranges if first <= held.first and held.last <= last]
        one = Range(
            first=first,
            last=last,
            ended_at=joined[-1].ended_at,
            sealed=True,
            facts=sum(held.facts for held in joined),
            quarantined=sum(held.quarantined for held in joined),
        )
        others = [file for file in self.files if file.table != FACTS and _drawn_from(file, one)]
        return self.with_range(one, [*others, *facts])

    def with_states(self, files: Iterable[File], unfolded: Sequence[Unfolded]) -> Self:
        """The manifest with the states of all ranges."""
        kept = [file for file in self.files if file.table in _RANGED]
        return msgspec.structs.replace(
            self,
            files=tuple(sorted([*kept, *files], key=_place)),
            states_at=self.last,
            unfolded=tuple(sorted(unfolded, key=lambda one: one.root)),
        )

    def with_empty(self, files: Iterable[File]) -> Self:
        """The manifest with `files`, which hold no row, and no other such file."""
        kept = [file for file in self.files if file.rows]
        return msgspec.structs.replace(self, files=tuple(sorted([*kept, *files], key=_place)))

    def states_alone(self, files: Iterable[File], unfolded: Sequence[Unfolded], as_of: AsOf) -> Self:
        """The manifest of a folder that holds nothing but states of this one's facts."""
        bare = msgspec.structs.replace(self, files=(), as_of=as_of).with_states(files, unfolded)
        return msgspec.structs.replace(bare, ranges=())

    def gaps(self) -> Iterator[str]:
        """What does not add up, in words; nothing for a complete export, or for states alone."""
        expected = 1
        for held in self.ranges:
            if held.first != expected:
                yield f"positions {expected} to {held.first - 1} are missing"
            expected = held.last + 1
            yield from self._gaps_of(held)
        if self.ranges and self.states_at != self.last:
            yield f"the states stand at position {self.states_at}, the facts at {self.last}: export again"

    def _gaps_of(self, held: Range) -> Iterator[str]:
        rows: Counter[str] = Counter()
        for file in self.files:
            if _drawn_from(file, held):
                rows[file.table] += file.rows
        where = f"positions {held.first} to {held.last}"
        if rows[LOG] != held.positions:
            yield f"{where}: {rows[LOG]} log rows instead of {held.positions}"
        if rows[FACTS] != held.facts or rows[QUARANTINE] != held.quarantined:
            yield f"{where}: {rows[FACTS]} facts and {rows[QUARANTINE]} quarantined in the files"
        if held.facts + held.quarantined != held.positions:
            yield f"{where}: {held.facts} facts and {held.quarantined} quarantined are not {held.positions}"


class _Format(msgspec.Struct):
    format: int


_RANGED: Final = frozenset({LOG, FACTS, QUARANTINE})


def _drawn_from(file: File, held: Range) -> bool:
    return file.table in _RANGED and held.first <= file.first and file.last <= held.last


def _first(held: Range) -> int:
    return held.first


def _place(file: File) -> tuple[str, int, int, str]:
    return file.table, -1 if file.bucket is None else file.bucket, file.first, file.path
