"""How many connections may be open at once, and which of them makes room for one more.

In: connections as they open, get answers and close. Out: where there are too many, the end of the one that
has been idle longest. Those on which no check was ever passed go before the others; one with a request
under way never goes.
"""

import resource
from collections import OrderedDict
from typing import Final, Protocol

import structlog

from service import telemetry

log = structlog.get_logger()

_KEPT_FREE: Final = 128
"""Descriptors that no sender gets: for Postgres, Kafka, the health port and files."""

_STRANGERS: Final = telemetry.INGRESS_CONNECTIONS.labels(passed="no")
_SENDERS: Final = telemetry.INGRESS_CONNECTIONS.labels(passed="yes")


class Connection(Protocol):
    """One that is open."""

    @property
    def is_busy(self) -> bool:
        """Whether a request came over it that has no answer yet."""
        ...

    def abort(self) -> None:
        """Close it at once, without a word."""
        ...


class Connections:
    """Those that are open, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._strangers: OrderedDict[Connection, None] = OrderedDict()
        """Those on which no check was ever passed, idle longest first."""
        self._senders: OrderedDict[Connection, None] = OrderedDict()
        """The others, idle longest first."""

    def opened(self, connection: Connection) -> None:
        """Take note of `connection`, and close another, or it, if it is one too many."""
        if len(self._strangers) + len(self._senders) >= self._most:
            telemetry.INGRESS_TURNED_OUT.inc()
            idle = _longest_idle(self._strangers) or _longest_idle(self._senders) or connection
            self.closed(idle)
            idle.abort()
            if idle is connection:
                return
        self._strangers[connection] = None
        _STRANGERS.inc()

    def passed(self, connection: Connection) -> None:
        """Take note that a request on `connection` passed the checks of its source."""
        if connection in self._strangers:
            del self._strangers[connection]
            self._senders[connection] = None
            _STRANGERS.dec()
            _SENDERS.inc()

    def answered(self, connection: Connection) -> None:
        """Take note that `connection` is idle from now on."""
        if connection in self._senders:
            self._senders.move_to_end(connection)
        elif connection in self._strangers:
            self._strangers.move_to_end(connection)

    def closed(self, connection: Connection) -> None:
        """Forget `connection`, if that has not happened yet."""
        if connection in self._strangers:
            del self._strangers[connection]
            _STRANGERS.dec()
        elif connection in self._senders:
            del self._senders[connection]
            _SENDERS.dec()


def _longest_idle(group: OrderedDict[Connection, None]) -> Connection | None:
    for _ in range(len(group)):
        connection = next(iter(group))
        if not connection.is_busy:
            return connection
        # It will be idle later than all that are idle now.
        group.move_to_end(connection)
    return None


def allowed(wanted: int) -> int:
    """How many connections the process may hold, at most `wanted`; raises its limit of descriptors for them.

    The soft limit is 1,024 on most systems, for the sake of programs that call select(2).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _KEPT_FREE
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < needed:
        log.warning("ingress.few_descriptors", limit=limit, needed=needed)
    return min(wanted, max(limit - _KEPT_FREE, limit // 2))
