"""Fold the facts of an exported folder, bucket by bucket: the states, by `projections` alone.

In: a bucket's files. Out: timelines, or the states as files, sorted by the hash of the root, as the facts
are; the same facts give the same bytes.
"""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from projections.facts import Fact
from projections.fold import states_of
from projections.states import State, States
from projections.timeline import Timeline
from service.exported.columns import FACT_COLUMNS, LOG_INSTANT, ROOT_HASH, STATES, facts_of, states_table
from service.exported.directory import Directory
from service.exported.manifest import FACTS, NOW, AsOf, Content, File, Manifest, Unfolded
from service.exported.slices import slices
from service.exported.writing import FileWriter

_FACTS_AT_ONCE: Final = 512
_STATES_PER_GROUP: Final = 4_096
_STATES_PER_FILE: Final = 65_536
_ROOT: Final = attrgetter("root")
_COLUMNS: Final = [ROOT_HASH.name, "recorded_at", *FACT_COLUMNS]


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """What the fold of some buckets came to."""

    rows: int = 0
    roots: int = 0
    states: int = 0
    unfolded: tuple[Unfolded, ...] = ()
    contents: tuple[Content, ...] = ()
    files: tuple[File, ...] = ()
    """The same as written; none where nothing was."""

    def __add__(self, other: "Folded") -> "Folded":
        return Folded(
            rows=self.rows + other.rows,
            roots=self.roots + other.roots,
            states=self.states + other.states,
            unfolded=self.unfolded + other.unfolded,
            contents=self.contents + other.contents,
            files=self.files + other.files,
        )


def timelines(folder: Directory, files: Sequence[File], as_of: AsOf = NOW) -> Iterator[Timeline]:
    """The timeline of every root in `files`, all of one bucket, by hash and root."""
    for rows in slices(folder, files, then="root", columns=_COLUMNS):
        for root, facts in groupby(_facts(_known(rows, as_of.known_at)), _ROOT):
            timeline = Timeline.of(root, facts)
            if as_of.effective_at is not None:
                timeline = timeline.until(as_of.effective_at)
            if timeline.entries:
                yield timeline


def fold_bucket(
    folder: Directory, manifest: Manifest, bucket: int, *, into: Directory | None = None, as_of: AsOf = NOW
) -> Folded:
    """Fold one bucket; the states go `into` a folder, or nowhere."""
    files = manifest.of(FACTS, bucket)
    tables = {name: _StateFiles(into, manifest, name, bucket) for name in STATES}
    roots, unfolded = 0, []
    for timeline in timelines(folder, files, as_of):
        roots += 1
        try:
            states = states_of(timeline)
        except Exception as error:  # noqa: BLE001  Any fault of one root's fold: the others go on.
            unfolded.append(Unfolded(root=timeline.root, reason=type(error).__name__))
            continue
        for name, state in _by_table(states):
            tables[name].add(state)
    for table in tables.values():
        table.end()
    return Folded(
        rows=sum(file.rows for file in files),
        roots=roots,
        states=sum(table.states for table in tables.values()),
        unfolded=tuple(unfolded),
        contents=tuple(content for table in tables.values() for content in table.contents),
        files=tuple(file for table in tables.values() for file in table.files),
    )


def _by_table(states: States) -> Iterator[tuple[str, State]]:
    if states.order is not None:
        yield "order_state", states.order
    for dispute in states.disputes:
        yield "dispute_state", dispute
    if states.subscription is not None:
        yield "subscription_state", states.subscription
    if states.withdrawal is not None:
        yield "withdrawal_state", states.withdrawal
    if states.cart is not None:
        yield "cart_state", states.cart


class _StateFiles:
    """The states of one table in one bucket, file by file."""

    def __init__(self, into: Directory | None, manifest: Manifest, table: str, bucket: int) -> None:
        self._into = into
        self._manifest = manifest
        self._table = table
        self._bucket = bucket
        self._waiting: list[State] = []
        self._writer: FileWriter | None = None
        self._digest = hashlib.sha256()
        self._rows = 0
        self.states = 0
        self.contents: list[Content] = []
        self.files: list[File] = []

    def add(self, state: State) -> None:
        self._waiting.append(state)
        if len(self._waiting) == _STATES_PER_GROUP:
            self._flush()

    def end(self) -> None:
        self._flush()
        if self._rows:
            self._end_file()

    def _flush(self) -> None:
        if not self._waiting:
            return
        self._digest.update(_encoder.encode_lines(self._waiting))
        if self._into is not None:
            if self._writer is None:
                self._writer = FileWriter(
                    self._into, self._manifest.origin, self._table, STATES[self._table][1]
                )
            self._writer.add(states_table(self._table, self._waiting))
        self._rows += len(self._waiting)
        self._waiting.clear()
        if self._rows >= _STATES_PER_FILE:
            self._end_file()

    def _end_file(self) -> None:
        content = Content(
            table=self._table, bucket=self._bucket, rows=self._rows, sha256=self._digest.hexdigest()
        )
        self.contents.append(content)
        self.states += self._rows
        if self._writer is not None:
            written = self._writer.write(
                bucket=self._bucket, first=1, last=self._manifest.last, content=content
            )
            self.files.append(written)
        self._digest, self._rows, self._writer = hashlib.sha256(), 0, None


def _facts(rows: pa.Table) -> Iterator[Fact]:
    # A few at a time: they are folded while they are still in the processor's cache.
    for start in range(0, rows.num_rows, _FACTS_AT_ONCE):
        yield from facts_of(rows.slice(start, _FACTS_AT_ONCE))


def _known(rows: pa.Table, known_at: int | None) -> pa.Table:
    if known_at is None:
        return rows
    instant = pa.scalar(known_at // 1000, pa.int64()).cast(LOG_INSTANT)
    return rows.filter(pc.less_equal(rows["recorded_at"], instant))


def buckets_of(manifest: Manifest) -> range:
    """The buckets there are."""
    return range(manifest.layout.buckets)


_encoder = msgspec.json.Encoder()
