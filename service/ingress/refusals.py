"""Tell of refusals without a line for each, which was over a quarter of what a refusal costs.

In: refusals as they happen, from one event loop. Out: of each source and check the first at once, then one
line a second with how many more there were. A crash loses the count of its last second; the metric
is exact.
"""

import asyncio
from typing import Final

import structlog

from service import telemetry

log = structlog.get_logger()

_INTERVAL_S: Final = 1.0

_Kind = tuple[str, str]
"""Source and check."""


class Refusals:
    """Those of one ingress."""

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._untold: dict[_Kind, int] = {}
        """Of each kind that was told of within the last interval: how many there were since."""

    def add(self, source: str, check: str) -> None:
        """Count one, and tell of it now or soon."""
        telemetry.INGRESS_REFUSED.labels(source=source, check=check).inc()
        kind = source, check
        if kind in self._untold:
            self._untold[kind] += 1
        else:
            self._tell(kind, 1)

    def _tell(self, kind: _Kind, count: int) -> None:
        source, check = kind
        log.warning("ingress.refused", source=source, check=check, count=count)
        self._untold[kind] = 0
        asyncio.get_running_loop().call_later(self._interval_s, self._tell_rest, kind)

    def _tell_rest(self, kind: _Kind) -> None:
        if count := self._untold.pop(kind):
            self._tell(kind, count)
