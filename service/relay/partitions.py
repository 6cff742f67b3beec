"""Keep whole partitions of both logs made ahead of their heads.

A crash, or a database that is away, costs nothing: the default partition takes what has no range yet.
"""

import asyncio
from typing import Final

import structlog

from service.errors import TransientError
from service.postgres import Pool, sorted_errors
from service.waiting import Waiting, pause

logger = structlog.get_logger()

AHEAD: Final = 3
"""Whole partitions beyond the head: at 25,000 deliveries a second, 20 minutes' worth."""

_INTERVAL_S: Final = 60.0


class Partitions:
    """Makes partitions of `delivery_log` and `event_log`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.waiting = Waiting("partitions")

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every minute until asked to stop."""
        while not stopping.is_set():
            try:
                await self.run_once()
            except TransientError as error:
                await self.waiting.after(error, stopping)
            else:
                self.waiting.over()
                await pause(_INTERVAL_S, stopping)

    async def run_once(self) -> int:
        """Make what is missing; the number of partitions made. Raises TransientError."""
        made = 0
        with sorted_errors(lost=TransientError):
            for log in ("deliveries", "events"):
                made += await self._pool.fetchval("select ensure_partitions($1, $2)", log, AHEAD)
        if made:
            logger.info("partitions.made", count=made)
        return made
