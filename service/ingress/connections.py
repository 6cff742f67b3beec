"""How many connections may be open at once, and which of them makes room for one more.

In: connections as they open and close. Out: where there are too many, the end of the one that has been
open longest without asking anything; who has asked is never turned out for somebody new.
"""

import itertools
import resource
from typing import Final, Protocol

import structlog

from service import telemetry

log = structlog.get_logger()

_KEPT_FREE: Final = 128
"""Descriptors that no sender gets: for Postgres, Kafka, the health port and files."""


class Connection(Protocol):
    """One that is open."""

    @property
    def has_asked(self) -> bool:
        """Whether a whole request head, or something that is none, came over it."""
        ...

    def abort(self) -> None:
        """Close it at once, without a word."""
        ...


class Connections:
    """Those that are open, at most `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0
        self._silent: dict[Connection, None] = {}
        """Oldest first; some of these have asked since."""

    def opened(self, connection: Connection) -> None:
        """Take note of `connection`, and close another, or it, if it is one too many."""
        self._open += 1
        self._silent[connection] = None
        if self._open > self._most:
            telemetry.INGRESS_TURNED_OUT.inc()
            self._longest_silent().abort()

    def closed(self, connection: Connection) -> None:
        """Forget `connection`."""
        self._open -= 1
        self._silent.pop(connection, None)

    def _longest_silent(self) -> Connection:
        # Looked at here alone, so that a request costs nothing; each that asked is passed over once.
        for connection in list(itertools.takewhile(_has_asked, self._silent)):
            del self._silent[connection]
        # The newest is there, at the least: it cannot have asked yet.
        longest = next(iter(self._silent))
        del self._silent[longest]
        return longest


def _has_asked(connection: Connection) -> bool:
    return connection.has_asked


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
