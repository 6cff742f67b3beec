"""A load generator that costs little: prepared requests over keep-alive connections, paced or not.

One request is under way on each connection, as a provider's sender does it; an answer is recognised by
its status line and not parsed further. About 8 µs a request, so that what is measured is the server.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import uvloop


@dataclass(slots=True)
class Load:
    """What was sent and what came back."""

    sent: int = 0
    seconds: float = 0.0
    statuses: Counter[bytes] = field(default_factory=Counter)
    waited_s: list[float] = field(default_factory=list)
    """Of every answer: from its request to it."""

    @property
    def per_second(self) -> float:
        return sum(self.statuses.values()) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """The time within which `share` of the answers came."""
        waited = sorted(self.waited_s)
        return waited[min(len(waited) - 1, int(len(waited) * share))] * 1000


class _Connection(asyncio.Protocol):
    """One keep-alive connection; what `answered` does when it is free again."""

    def __init__(self, load: Load, answered: "Callable[[_Connection], None]") -> None:
        self._load = load
        self._answered = answered
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport to isinstance.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._load.sent += 1
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        # A short answer comes in one piece: headers and body were written together.
        self._load.statuses[data[9:12]] += 1
        self._load.waited_s.append(time.perf_counter() - self._sent_at)
        self._answered(self)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def drive(
    port: int, requests: Iterator[bytes], *, seconds: float, connections: int = 128, rate: float | None = None
) -> Load:
    """Send `requests` for `seconds`, `rate` a second or as fast as they are answered."""
    load = Load()
    idle: deque[_Connection] = deque()
    deadline = time.perf_counter() + seconds

    def answered(connection: _Connection) -> None:
        if rate is None and time.perf_counter() < deadline:
            connection.send(next(requests))
        else:
            idle.append(connection)

    opened = [await _open(port, lambda: _Connection(load, answered)) for _ in range(connections)]
    started = time.perf_counter()
    deadline = started + seconds
    if rate is None:
        for connection in opened:
            connection.send(next(requests))
    else:
        idle.extend(opened)
        while (now := time.perf_counter()) < deadline:
            for _ in range(min(len(idle), int((now - started) * rate) - load.sent)):
                idle.popleft().send(next(requests))
            await asyncio.sleep(0.002)
    while len(idle) < connections and time.perf_counter() < deadline + 10:  # noqa: ASYNC110  The last answers.
        await asyncio.sleep(0.002)
    load.seconds = time.perf_counter() - started
    for connection in opened:
        connection.close()
    return load


async def _open(port: int, protocol: Callable[[], _Connection]) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(protocol, "127.0.0.1", port)
    return connection


def run(port: int, requests: Iterator[bytes], *, seconds: float, rate: float | None = None) -> Load:
    """`drive` in an event loop of its own."""
    return uvloop.run(drive(port, requests, seconds=seconds, rate=rate))
