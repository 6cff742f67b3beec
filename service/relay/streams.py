"""The two logs as the relay sees them: rows in, records for Kafka out.

Everything that differs between `delivery_log` and `event_log` is here; relay.py is the same for
both. A record's key and partition come from the stored row alone, so publishing a row twice puts it
in the same place twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import asyncpg
import orjson

from projections.delivery import routing_key
from service import eventlog
from service.eventlog import marks
from service.kafka import headers, topics
from service.kafka.partitioner import partition_of
from service.postgres import Connection, statement

_SQL: Final = Path(eventlog.__file__).parent


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One row of a log as a record for Kafka, before the relay adds `log`, `position` and `prev`."""

    position: int
    mark: str
    """Tells this row from another log's at the same position."""
    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int


class Stream(Protocol):
    """One log."""

    name: str
    """`deliveries` or `events`: which of the checkpoints is its own."""
    channel: str
    """Where Postgres notifies of an append."""
    topics: Sequence[str]
    """Where its rows go, without the prefix."""

    async def tail(
        self, connection: Connection, after: int, *, rows_max: int, bytes_max: int
    ) -> list[Outgoing]:
        """The rows after position `after`, in log order, bounded."""
        ...


class Deliveries:
    """What providers said, for `webhooks.raw`."""

    name = "deliveries"
    channel = "recibo_deliveries"
    topics: Sequence[str] = (topics.RAW,)

    def __init__(self, log: str) -> None:
        self._log = log

    async def tail(
        self, connection: Connection, after: int, *, rows_max: int, bytes_max: int
    ) -> list[Outgoing]:
        rows = await connection.fetch(statement(_SQL, "tail_deliveries"), after, rows_max, bytes_max)
        return [self._outgoing(row) for row in rows]

    def _outgoing(self, row: asyncpg.Record) -> Outgoing:
        (
            position,
            source,
            account,
            provider,
            root,
            kind,
            received_at,
            recorded_at,
            trust,
            content_type,
            body,
            digest,
        ) = row
        key = routing_key(root, position)
        encoded_key = key.encode()
        recorded_text = headers.rfc3339(recorded_at)
        record_headers = [
            headers.SPECVERSION,
            ("ce_id", headers.receipt(self._log, position).encode()),
            ("ce_source", b"/webhooks/" + source.encode()),
            ("ce_type", b"webhook.received"),
            ("ce_time", headers.rfc3339(received_at).encode()),
            ("ce_partitionkey", encoded_key),
            ("source", source.encode()),
            ("account", account.encode()),
            ("provider", provider.encode()),
            ("trust", trust.encode()),
            ("recorded_at", recorded_text.encode()),
        ]
        if kind is not None:
            record_headers.append(("kind", kind.encode()))
        if content_type is not None:
            record_headers.append(("content-type", content_type.encode()))
        return Outgoing(
            position,
            marks.mark(recorded_text, digest.hex()),
            topics.RAW,
            partition_of(key),
            encoded_key,
            body,
            record_headers,
            headers.milliseconds(recorded_at),
        )


class Events:
    """What we concluded, for the domain topics, the compacted states and the quarantine."""

    name = "events"
    channel = "recibo_events"
    topics: Sequence[str] = topics.EVENT_TOPICS

    async def tail(
        self, connection: Connection, after: int, *, rows_max: int, bytes_max: int
    ) -> list[Outgoing]:
        rows = await connection.fetch(statement(_SQL, "tail_events"), after, rows_max, bytes_max)
        partitions: dict[str, int] = {}
        return [_event(row, partitions) for row in rows]


def _event(row: asyncpg.Record, partitions: dict[str, int]) -> Outgoing:
    position, recorded_at, topic, key, partition_key, event_id, record_headers, value = row
    # One change of a root is several rows in a run: hash its key once.
    partition = partitions.get(partition_key)
    if partition is None:
        partition = partitions[partition_key] = partition_of(partition_key)
    return Outgoing(
        position,
        marks.mark(headers.rfc3339(recorded_at), event_id),
        topic,
        partition,
        key.encode(),
        value,
        [(name, text.encode()) for name, text in orjson.loads(record_headers).items()],
        headers.milliseconds(recorded_at),
    )
