"""Append events to the outbox, in the transaction that writes the state they tell of.

A crash before the caller's commit leaves neither state nor events; after it, the relay has both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from service.errors import InvariantError, TransientError
from service.eventlog.deliveries import NO_PARTITION
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
    """Append `events` in order. Takes the head row's lock until the caller commits: call it last.

    Raises InvariantError where the log refuses the positions that its head row gives, else what asyncpg
    raises.
    """
    if not events:
        return
    try:
        await connection.execute(
            statement(Path(__file__).parent, "append_events"),
            [event.topic for event in events],
            [event.key for event in events],
            [event.partition_key for event in events],
            [event.event_id for event in events],
            [event.headers for event in events],
            [event.value for event in events],
        )
    except asyncpg.IntegrityConstraintViolationError as error:
        if error.sqlstate == NO_PARTITION:
            raise TransientError(
                f"a partition of the event log is just being made ({error.sqlstate})", store="postgres"
            ) from None
        # No root is to blame: each of them would be parked, one after another.
        raise InvariantError(
            f"the event log refuses its next positions ({error.sqlstate}): log_head is behind event_log, as "
            "after a partial restore. Restore both from one backup, or set log_head.last_position of 'events'"
            " to the greatest position in event_log"
        ) from None
