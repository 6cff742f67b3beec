"""The event log against the records that folding the log must yield: statement 6, and the events of 7.

Pure. Fed with all that is expected, then with the event log's rows in position order.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.checker.events import Expected
from tests.checker.report import Finding

_EVENT_ID: Final = re.compile(r"(.*)@(\d{4}\.\d{10})/\d+(?:/state|/gone)?", re.DOTALL)


class Event(NamedTuple):
    """A row of the event log."""

    position: int
    event_id: str
    event_type: str | None
    topic: str
    key: str
    partition_key: str


class Outbox:
    """What must be published, ticked off."""

    def __init__(self) -> None:
        self._due: dict[str, Expected | None] = {}
        """Null once it was seen."""
        self._versions: dict[tuple[str, str], str] = {}
        self._reordered: set[str] = set()
        self._early: list[Finding] = []

    def expect(self, record: Expected) -> None:
        """Enter a record that must be there."""
        self._due[record.event_id] = record

    def event(self, event: Event) -> None:
        """Enter a row."""
        where = f"{event.event_id} at events {event.position}"
        if event.event_id not in self._due:
            self._early.append(Finding("stranger", where, f"no delivery caused this {event.event_type}"))
            return
        due = self._due[event.event_id]
        if due is None:
            self._early.append(Finding("doubled event", where, f"{event.event_type} published again"))
            return
        self._due[event.event_id] = None
        self._compare(event, due, where)
        self._follow(event)

    def findings(self) -> Iterator[Finding]:
        """What is missing or wrong, once all is entered."""
        yield from self._early
        for event_id, due in self._due.items():
            if due is not None:
                yield Finding("missing event", event_id, f"{due.event_type} in {due.topic}")

    def _compare(self, event: Event, due: Expected, where: str) -> None:
        is_right = (
            event.event_type == due.event_type
            and event.topic == due.topic
            and event.key == (due.key or event.key)
            and event.partition_key == due.root
        )
        if not is_right:
            seen = f"{event.event_type} in {event.topic} under {event.key}"
            wanted = f"{due.event_type} in {due.topic} under {due.key or 'any key'}"
            self._early.append(Finding("mistyped event", where, f"{seen}, not {wanted}"))

    def _follow(self, event: Event) -> None:
        found = _EVENT_ID.fullmatch(event.event_id)
        if found is None:
            return
        stream = (event.topic, event.partition_key)
        if found[2] < self._versions.get(stream, "") and found[1] not in self._reordered:
            self._reordered.add(found[1])
            detail = f"{event.event_id} comes after version {self._versions[stream]} in {event.topic}"
            self._early.append(Finding("reordered", found[1], detail))
        self._versions[stream] = max(found[2], self._versions.get(stream, ""))
