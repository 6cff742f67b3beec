"""The head of a log: how far it goes."""

from pathlib import Path
from typing import Final

from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent


async def position(connection: Connection, log: str) -> int:
    """The last position of `deliveries` or `events`; 0 where nothing was appended yet."""
    found: int = await connection.fetchval(statement(_SQL, "head"), log)
    return found
