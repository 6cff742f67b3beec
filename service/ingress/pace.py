"""How fast refusals are answered: as many a second as leave the machine to those who are not refused.

In: refusals as they happen, from one event loop. Out: for each its turn, at once while there are few, else
after a short wait; or that there are too many that wait already. Keeps one number and nothing of the
refused; a crash loses it.
"""

import asyncio
import math
from typing import Final

_PER_SECOND: Final = 1_000.0
_BURST: Final = 100
"""That come at once and need not wait: a provider with an old secret is told as fast as ever."""
_WAIT_S_MAX: Final = 0.25
"""So that no more than 250 connections are held by waiting, whatever was sent on them."""


class Pace:
    """The one of an ingress. Who asks again only when answered is slowed down by it (GCRA, ITU-T I.371)."""

    def __init__(self, per_second: float = _PER_SECOND, burst: int = _BURST) -> None:
        self._interval_s = 1 / per_second
        self._ahead_s = burst * self._interval_s
        self._next = -math.inf
        """When the next turn is, had each waited its whole interval; seconds of the event loop's clock."""

    async def turn(self) -> bool:
        """Return when it is this one's turn; False, at once, if too many wait before it."""
        now = asyncio.get_running_loop().time()
        turn = max(self._next, now - self._ahead_s)
        if turn - now > _WAIT_S_MAX:
            return False
        self._next = turn + self._interval_s
        if turn > now:
            await asyncio.sleep(turn - now)
        return True
