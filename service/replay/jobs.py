"""What the processes of a rebuild say to each other: a task, jobs, and what became of each.

Values that travel as lines of JSON between a rebuild and its workers; nothing of them is kept.
"""

from typing import Final, Self

import msgspec

from service.errors import InvariantError, PermanentError, ReciboError, TransientError
from service.replay.goal import Goal


class Strip(msgspec.Struct, frozen=True, tag=True):
    """Read the positions of one strip."""

    number: int


class Bucket(msgspec.Struct, frozen=True, tag=True):
    """Fold one bucket."""

    number: int


class Index(msgspec.Struct, frozen=True, tag=True):
    """Give the table of that number in `shadow.BULKY` its keys and indexes."""

    number: int


class EventStrip(msgspec.Struct, frozen=True, tag=True):
    """Read the positions of one strip of the outbox, counted from where the last swap left it."""

    number: int


class Ids(msgspec.Struct, frozen=True, tag=True):
    """Hold the outbox's ids against those that the facts of one bucket yield."""

    number: int


Job = Strip | Bucket | Index | EventStrip | Ids


class Since(msgspec.Struct, frozen=True, kw_only=True):
    """What the last swap left, and how far the outbox goes that is held against it."""

    generation: int
    positions: dict[int, int]
    """Partition → log position; without those that were never folded."""
    event_position: int
    event_end: int


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What all jobs of one rebuild share."""

    goal: Goal
    database_url: str
    owner_url: str
    folder: str
    strip_rows: int
    buckets: int
    last_position: int
    vector: dict[int, int] | None
    """Partition → position up to which its rows count; null: all up to `last_position` do."""
    since: Since | None = None
    """For a verification."""


class Done(msgspec.Struct, frozen=True, tag=True):
    """What a job came to."""

    number: int
    counts: dict[str, int]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """Why a job could not be done."""

    kind: str
    text: str

    def error(self) -> ReciboError:
        """The error, to be raised in the parent."""
        return {kind.__name__: kind for kind in _KINDS}[self.kind](self.text)

    @classmethod
    def of(cls, error: ReciboError) -> Self:
        """What tells of `error`."""
        return cls(next(kind.__name__ for kind in _KINDS if isinstance(error, kind)), str(error))


_KINDS: Final = (PermanentError, TransientError, InvariantError)
