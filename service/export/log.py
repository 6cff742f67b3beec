"""Read the log for an export: whole rows, in key pages, each in a short transaction of its own.

One long snapshot over the log would keep the head row's dead versions, and every append would slow down.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import asyncpg

from projections.delivery import Delivery
from service.errors import TransientError
from service.eventlog import head, reader
from service.kafka.headers import nanoseconds
from service.postgres import Connection, sorted_errors, statement

_SQL: Final = Path(__file__).parent
_ROWS_MAX: Final = 2_000
_BYTES_MAX: Final = 8_388_608


class Logged(NamedTuple):
    """A delivery, and what the log keeps of it that no fold reads."""

    delivery: Delivery
    remote_ip: str | None
    headers: str
    body_sha256: bytes


class Log(Protocol):
    """What an export asks of the log."""

    name: str

    async def lock(self, place: str, /) -> bool:
        """Whether nobody else exports to `place`, from now on."""

    async def last(self) -> int:
        """The last position; 0 for none."""

    async def recorded_at(self, position: int) -> int | None:
        """When the delivery there was recorded, nanoseconds since the epoch; null for none."""

    async def page(self, after: int, up_to: int) -> Sequence[Logged]:
        """The next deliveries with after < position ≤ up_to; empty at the end."""

    async def at(self, positions: Sequence[int], /) -> Sequence[Delivery]:
        """The deliveries at `positions`, in log order."""


class PostgresLog:
    """The log itself."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name

    async def lock(self, place: str, /) -> bool:
        with sorted_errors(lost=TransientError):
            taken: bool = await self._connection.fetchval(statement(_SQL, "lock"), place)
        return taken

    async def last(self) -> int:
        with sorted_errors(lost=TransientError):
            return await head.position(self._connection, "deliveries")

    async def recorded_at(self, position: int) -> int | None:
        with sorted_errors(lost=TransientError):
            found = await self._connection.fetchval(statement(_SQL, "recorded_at"), position)
        return None if found is None else nanoseconds(found)

    async def page(self, after: int, up_to: int) -> Sequence[Logged]:
        with sorted_errors(lost=TransientError):
            rows = await self._connection.fetch(
                statement(_SQL, "whole_deliveries"), after, up_to, _ROWS_MAX, _BYTES_MAX
            )
        return [_logged(row) for row in rows]

    async def at(self, positions: Sequence[int]) -> Sequence[Delivery]:
        with sorted_errors(lost=TransientError):
            return await reader.at(self._connection, positions)


def _logged(row: asyncpg.Record) -> Logged:
    delivery = Delivery(
        position=row["position"],
        source=row["source"],
        account=row["account"],
        provider=row["provider"],
        root=row["root"],
        kind=row["kind"],
        trust=row["trust"],
        received_at=nanoseconds(row["received_at"]),
        recorded_at=nanoseconds(row["recorded_at"]),
        body=row["body"],
    )
    return Logged(delivery, row["remote_ip"], row["headers"], row["body_sha256"])
