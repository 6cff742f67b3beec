"""Keep whole partitions of both logs made ahead of their heads.

A crash, or a database that is away, costs nothing: the default partition takes what has no range yet. No
append and no reader waits for a partition: a lock that is not free at once is asked for again a minute later.
Each log is looked after by itself.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import asyncpg
import structlog

from service import telemetry
from service.errors import TransientError
from service.postgres import Pool, sorted_errors
from service.waiting import Waiting, pause

logger = structlog.get_logger()

AHEAD: Final = 8
"""Whole partitions beyond the head, of 25,000,000 rows: at 25,000 deliveries a second, over two hours."""

LOGS: Final = ("deliveries", "events")

GIVES_UP_S: Final = 120.0
"""For one statement; the longest looks through the default partition, and nobody waits for it."""

_INTERVAL_S: Final = 60.0

_AWAY: Final = ("08", "28", "3D", "57P")
"""SQLSTATEs that speak of the server or the login, not of what was asked: try again soon."""


class Partitions:
    """Makes partitions of `delivery_log` and `event_log`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting = Waiting("partitions")
        self._failing: dict[str, str] = {}

    def health(self) -> Mapping[str, object]:
        """What it waits for; of each log whose partitions cannot be made now, why."""
        return {**self._waiting.details(), **({"not_made": dict(self._failing)} if self._failing else {})}

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every minute until asked to stop."""
        while not stopping.is_set():
            try:
                await self.run_once()
            except TransientError as error:
                await self._waiting.after(error, stopping)
            else:
                self._waiting.over()
                await pause(_INTERVAL_S, stopping)

    async def run_once(self) -> int:
        """Make what is missing; the number of partitions made.

        What Postgres refuses for one log is told of, and does not keep the other from being made. Raises
        TransientError while Postgres is away.
        """
        return sum([await self._make(log) for log in LOGS])

    async def _make(self, log: str) -> int:
        with sorted_errors(lost=TransientError):
            try:
                made = await self._ensure(log)
            except asyncpg.PostgresError as error:
                if (error.sqlstate or "").startswith(_AWAY):
                    raise
                self._failed(log, error)
                return 0
        self._failing.pop(log, None)
        telemetry.PARTITIONS_FAILING.labels(log=log).set(0)
        if made:
            logger.info("partitions.made", log=log, count=made)
        return made

    async def _ensure(self, log: str) -> int:
        made: int | None = await self._pool.fetchval("select ensure_partitions($1, $2)", log, AHEAD)
        if made is not None:
            return made
        # Rows are in the default partition. Each step is a transaction of its own, for the second takes long.
        await self._pool.execute("select exclude_from_default($1, $2)", log, AHEAD)
        await self._pool.execute("select validate_default($1)", log)
        return await self._pool.fetchval("select ensure_partitions($1, $2)", log, AHEAD) or 0

    def _failed(self, log: str, error: asyncpg.PostgresError) -> None:
        telemetry.PARTITIONS_FAILING.labels(log=log).set(1)
        reason = f"{error.sqlstate} {type(error).__name__}"
        if self._failing.get(log) != reason:
            logger.warning("partitions.not_made", log=log, reason=reason, retry_s=_INTERVAL_S)
        self._failing[log] = reason
