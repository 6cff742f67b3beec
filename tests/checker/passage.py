"""Rows of a log against the records of its topics: statement 4, and the strangers in Kafka.

Pure. A reader of a topic drops what repeats a position, sees a gap where `prev` is beyond the position
it has, and sees one at a quiet tail by the relay's checkpoint. Whatever it can neither read nor see so
is `unread`. Of a compacted topic, which has no `prev`, it needs the newest record of each key.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.checker.report import Finding

Place = tuple[str, int]
"""Topic without prefix, partition."""


class Record(NamedTuple):
    """A record of a topic."""

    place: Place
    position: int
    prev: int | None
    mark: bytes | None
    """A digest of all that must be as in the log; null of a small marker in the place of a record."""


class _Due(NamedTuple):
    place: Place
    mark: bytes
    name: str
    key: str | None


@dataclass(slots=True)
class _Chain:
    last: int = 0
    shown: list[tuple[int, int]] = field(default_factory=list)
    """Gaps that a reader sees: after the first, up to and with the second."""


class Passage:
    """One log's way through Kafka."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._due: dict[int, _Due] = {}
        self._places: dict[Place, Place] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._read: set[int] = set()
        self._chains: dict[Place, _Chain] = defaultdict(_Chain)
        self._early: list[Finding] = []
        self.repeats = 0

    def row(self, position: int, place: Place, mark: bytes, *, name: str, key: str | None = None) -> None:
        """Enter a row of the log, which must be at `place`; `key` where the topic is compacted."""
        self._due[position] = _Due(self._places.setdefault(place, place), mark, name, key)
        if key is not None:
            topic, _ = place
            self._newest[topic, key] = max(position, self._newest.get((topic, key), 0))

    def record(self, record: Record) -> None:
        """Enter a record, in the order of its partition. All rows come before the first record."""
        due = self._due.get(record.position)
        where = f"{self._log} {record.position} in {record.place[0]}-{record.place[1]}"
        if due is None:
            self._early.append(Finding("stranger", where, "the log has no such row"))
            return
        mark = due.mark if record.mark is None else record.mark
        if (due.place, due.mark) != (record.place, mark):
            self._early.append(Finding("stranger", where, f"not as in the log: {due.name}"))
            return
        if record.position in self._read:
            self.repeats += 1
            return
        if record.mark is None:
            # A reader sees by it what is missing, and where to read that.
            self._chains[record.place].shown.append((record.position - 1, record.position))
        else:
            self._read.add(record.position)
        chain = self._chains[record.place]
        if record.position < chain.last:
            self._early.append(Finding("reordered", due.name, f"{where} comes after {chain.last}"))
            return
        if record.prev is not None and record.prev > chain.last:
            chain.shown.append((chain.last, record.prev))
        chain.last = record.position

    def foreign(self, place: Place, offset: int) -> None:
        """Enter a record that is none of the relay's."""
        self._early.append(
            Finding("stranger", f"{place[0]}-{place[1]} offset {offset}", "not a relay's record")
        )

    def findings(self, checkpoint: Mapping[Place, int]) -> Iterator[Finding]:
        """What went astray; `checkpoint` is the last position of each place by the relay's word."""
        yield from self._early
        for position, due in self._due.items():
            if position in self._read or self._is_superseded(position, due):
                continue
            chain = self._chains[due.place]
            if chain.last < position <= checkpoint.get(due.place, 0):
                continue
            if not any(after < position <= upto for after, upto in chain.shown):
                detail = f"not in {due.place[0]}-{due.place[1]}, and nothing there tells that it is missing"
                yield Finding("unread", f"{self._log} {position}, {due.name}", detail)

    def _is_superseded(self, position: int, due: _Due) -> bool:
        return due.key is not None and self._newest[due.place[0], due.key] != position
