"""Names for the members of the projectors' consumer group, so that Kafka knows a restarted projector again.

In: a database. Out: the lowest number that no live projector of the log has, held by an advisory lock for as
long as its connection lives. A killed process loses the connection and with it the number; the next projector
to start takes the number and, by static membership (KIP-345), the partitions that go with it.
"""

from pathlib import Path
from typing import Final

from projections.delivery import PARTITIONS
from service.errors import TransientError
from service.postgres import Connection, connect, sorted_errors, statement

_SQL: Final = Path(__file__).parent
_LOCK_SPACE: Final = 0x6D65_6D62  # "memb"
_ANSWER_S_MAX: Final = 10.0


class MemberName:
    """The name of this process in the group of one log's projectors."""

    def __init__(self, *, database_url: str, log: str) -> None:
        self._database_url = database_url
        self._log = log
        self._connection: Connection | None = None
        self._number: int | None = None

    async def take(self) -> str | None:
        """Return a free name; null where more projectors run than there are partitions.

        Raises TransientError while Postgres is away.
        """
        self._number = await self._lock(0, PARTITIONS - 1)
        return None if self._number is None else str(self._number)

    async def keep(self) -> None:
        """Return if the name is still this process's own, after Postgres was away.

        Raises TransientError where another projector took it meanwhile: the two would put each other out.
        """
        if self._number is None or (self._connection is not None and not self._connection.is_closed()):
            return
        if await self._lock(self._number, self._number) is None:
            raise TransientError(
                "another projector took this one's name in the group while Postgres was away"
            )

    def release(self) -> None:
        """Give the name back."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection = self._number = None

    async def _lock(self, first: int, last: int) -> int | None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = connection = await connect(
            self._database_url, application="projector-member", command_timeout_s=_ANSWER_S_MAX
        )
        with sorted_errors(lost=TransientError):
            number: int | None = await connection.fetchval(
                statement(_SQL, "lock_member_name"), _LOCK_SPACE, self._log, first, last
            )
        return number
