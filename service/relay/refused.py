"""Rows that Kafka refuses for their size, and the small marker that goes out in the place of each. Pure.

A refused batch does not tell which of its records is too large. So its rows go out one by one the next time,
and a row that is refused alone is marked the time after that: the rest of the log flows on behind it. The
knowledge outlives a leadership, for each refusal ends one.

A subscriber finds the position in the marker, and the whole record in the event log (a delivery in
`delivery_log`).
"""

import dataclasses
from collections.abc import Sequence
from typing import Final

import msgspec

from projections.messages import TooLargeData
from service.kafka import headers, topics
from service.kafka.producer import Sendable
from service.relay.streams import Outgoing

_KEPT: Final = frozenset({"ce_specversion", "ce_id", "ce_source", "ce_partitionkey"})
"""Headers that the marker has of the record."""


class Refused:
    """What Kafka refused of one stream and is not published yet, by position."""

    def __init__(self) -> None:
        self._suspected: set[int] = set()
        self._too_large: set[int] = set()

    def note(self, positions: Sequence[int]) -> bool:
        """Note that Kafka refused a batch of the rows at `positions`; return False where it was a marker."""
        if len(positions) > 1:
            self._suspected.update(positions)
            return True
        if positions[0] in self._too_large:
            return False
        self._too_large.add(positions[0])
        return True

    def goes_alone(self, position: int) -> bool:
        """Return whether the row at `position` must not share a batch."""
        return position in self._suspected or position in self._too_large

    def is_too_large(self, position: int) -> bool:
        """Return whether the row at `position` was refused alone."""
        return position in self._too_large

    def forget(self, *, up_to: int | None = None) -> None:
        """Forget what is published up to a position; without one, all that is known."""
        for known in (self._suspected, self._too_large):
            known.difference_update([at for at in known if up_to is None or at <= up_to])


def size_of(row: Sendable) -> int:
    """Return the bytes of the record: key, value and headers."""
    return len(row.key) + len(row.value or b"") + sum(len(name) + len(value) for name, value in row.headers)


def marker_of(row: Outgoing) -> Outgoing | None:
    """Return the record in place of `row`; null on a compacted topic, whose newest state it would replace."""
    if topics.is_compacted(row.topic):
        return None
    kept = [(name, value) for name, value in row.headers if name in _KEPT]
    known = dict(kept)
    data = TooLargeData(
        position=row.position,
        id=known["ce_id"].decode(),
        root=known["ce_partitionkey"].decode(),
        bytes=size_of(row),
        detail="read it from the log, at this position",
    )
    return dataclasses.replace(
        row,
        value=msgspec.json.encode(data),
        headers=[*kept, ("ce_type", headers.MARKER_TYPE), ("content-type", b"application/json")],
    )
