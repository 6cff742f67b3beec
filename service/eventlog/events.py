"""Append events to the outbox, in the transaction that writes the state they tell of.

A crash before the caller's commit leaves neither state nor events; after it, the relay has both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from service.postgres import Connection, statement


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """A record for Kafka that has no position yet; the columns are those of `event_log`."""

    topic: str
    """Without the configured prefix."""
    key: str
    partition_key: str
    """The root: its hash decides the partition."""
    event_id: str
    headers: str
    """A JSON object as text, of the record's header names to their values."""
    value: bytes | None


async def append_events(connection: Connection, events: Sequence[NewEvent]) -> None:
    """Append `events` in order. Takes the head row's lock until the caller commits: call it last."""
    if not events:
        return
    await connection.execute(
        statement(Path(__file__).parent, "append_events"),
        [event.topic for event in events],
        [event.key for event in events],
        [event.partition_key for event in events],
        [event.event_id for event in events],
        [event.headers for event in events],
        [event.value for event in events],
    )
