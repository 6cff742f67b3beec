"""A TCP proxy that stands in the way: it delays, falls silent, refuses, or cuts at a chosen request.

It reads what passes just far enough to name the requests. A cut `after` is the ambiguous one: the request
was forwarded, the server has answered, and the answer never arrives.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from tests.faults.supervision import PATIENCE_S

_CHUNK_BYTES: Final = 65_536
_KAFKA_REQUESTS: Final = {
    0: "Produce",
    1: "Fetch",
    22: "InitProducerId",
    24: "AddPartitionsToTxn",
    26: "EndTxn",
}
_COMMIT: Final = b"Q\x00\x00\x00\x0cCOMMIT;\x00"


class Asked(NamedTuple):
    """A request that passed, and by what its answer is known."""

    name: str
    number: int


class Dialect(Protocol):
    """Reads one connection, chunk by chunk."""

    def asked(self, chunk: bytes) -> list[Asked]:
        """The requests that begin in what the client sent."""
        ...

    def answered(self, chunk: bytes) -> set[int]:
        """The requests whose answers begin in what the server sent."""
        ...


class Kafka:
    """Frames with their length before them; api key and correlation id come first."""

    def __init__(self) -> None:
        self._up = _Frames(head=8)
        self._down = _Frames(head=4)

    def asked(self, chunk: bytes) -> list[Asked]:
        """The requests that begin in what the client sent."""
        return [
            Asked(_KAFKA_REQUESTS.get(int.from_bytes(head[:2], "big"), ""), int.from_bytes(head[4:], "big"))
            for head in self._up.heads(chunk)
        ]

    def answered(self, chunk: bytes) -> set[int]:
        """The requests whose answers begin in what the server sent."""
        return {int.from_bytes(head, "big") for head in self._down.heads(chunk)}


class Postgres:
    """Only COMMIT is known; a client that sent one sends nothing more before its answer."""

    def asked(self, chunk: bytes) -> list[Asked]:
        """The requests that begin in what the client sent."""
        return [Asked("COMMIT", 0)] if _COMMIT in chunk else []

    def answered(self, _chunk: bytes) -> set[int]:
        """The requests whose answers begin in what the server sent."""
        return {0}


class _Frames:
    """The first bytes of each frame of a stream."""

    def __init__(self, *, head: int) -> None:
        self._head = head
        self._begun = b""
        self._skip = 0

    def heads(self, chunk: bytes) -> Iterator[bytes]:
        stream = self._begun + chunk
        at = min(self._skip, len(stream))
        self._skip -= at
        while not self._skip and len(stream) - at >= 4 + self._head:
            length = int.from_bytes(stream[at : at + 4], "big")
            yield stream[at + 4 : at + 4 + self._head]
            at += 4 + length
            if at > len(stream):
                self._skip, at = at - len(stream), len(stream)
        self._begun = stream[at:]


@dataclass(slots=True)
class _Cut:
    request: str
    when: Literal["before", "after"]
    left: int
    done: asyncio.Event


class Wire:
    """The proxy of one server."""

    def __init__(self, *, port: int, to: int, dialect: Callable[[], Dialect]) -> None:
        self.port = port
        self._to = to
        self._dialect = dialect
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._delay_s = 0.0
        self._refuses = False
        self._passes = asyncio.Event()
        self._passes.set()
        self._cut: _Cut | None = None

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Wire"]:
        """Pass everything on, until one of the methods below is used."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        try:
            yield self
        finally:
            server.close()
            self.reset()
            await asyncio.gather(*self._connections.values(), return_exceptions=True)

    @contextmanager
    def delaying(self, seconds: float) -> Iterator[None]:
        """Hold each chunk, either way, for so long."""
        self._delay_s = seconds
        try:
            yield
        finally:
            self._delay_s = 0.0

    @contextmanager
    def silent(self, *, forgets: bool = False) -> Iterator[None]:
        """Pass nothing on. What waited passes later, unless it `forgets`: then both ends wait for ever."""
        self._passes.clear()
        silenced = set(self._connections)
        assert silenced, "nobody is connected through the wire"
        try:
            yield
        finally:
            if forgets:
                for connection in silenced:
                    connection.dead = True
            self._passes.set()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """End every connection and take no new one."""
        self._refuses = True
        self.reset()
        try:
            yield
        finally:
            self._refuses = False

    async def cut(self, request: str, *, when: Literal["before", "after"], times: int) -> None:
        """End the connection at the next `times` requests of this name; return once that happened."""
        self._cut = _Cut(request, when, times, asyncio.Event())
        try:
            await asyncio.wait_for(self._cut.done.wait(), PATIENCE_S)
        finally:
            self._cut = None

    def reset(self) -> None:
        """End every connection."""
        for connection in list(self._connections):
            connection.abort()

    async def held(self) -> None:
        """Return when a chunk may pass."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self._passes.wait()

    def taken(self, asked: list[Asked]) -> tuple[Literal["before", "after"], int] | None:
        """Whether the connection is to be cut at one of these requests, and at which."""
        cut = self._cut
        for request in asked:
            if cut is not None and cut.left and request.name == cut.request:
                cut.left -= 1
                return cut.when, request.number
        return None

    def was_cut(self) -> None:
        """Count a cut that has happened."""
        if self._cut is not None and not self._cut.left:
            self._cut.done.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        if self._refuses:
            for end in (writer, server[1]):
                end.transport.abort()
            return
        connection = _Connection(self, self._dialect(), (reader, writer), server)
        self._connections[connection] = running = asyncio.create_task(connection.run())
        running.add_done_callback(lambda _: self._connections.pop(connection))


_End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    def __init__(self, wire: Wire, dialect: Dialect, client: _End, server: _End) -> None:
        self._wire = wire
        self._dialect = dialect
        self._client, self._server = client, server
        self._doomed: int | None = None
        self.dead = False

    async def run(self) -> None:
        pumps = {asyncio.create_task(self._up()), asyncio.create_task(self._down())}
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self.abort()
            closing = (writer.wait_closed() for _, writer in (self._client, self._server))
            await asyncio.gather(*pumps, *closing, return_exceptions=True)

    def abort(self) -> None:
        for _, writer in (self._client, self._server):
            writer.transport.abort()

    async def _up(self) -> None:
        reader, writer = self._client[0], self._server[1]
        while chunk := await reader.read(_CHUNK_BYTES):
            await self._wire.held()
            if self.dead:
                continue
            cut = self._wire.taken(self._dialect.asked(chunk))
            if cut is not None and cut[0] == "before":
                self._wire.was_cut()
                return
            if cut is not None:
                self._doomed = cut[1]
            writer.write(chunk)
            await writer.drain()

    async def _down(self) -> None:
        reader, writer = self._server[0], self._client[1]
        while chunk := await reader.read(_CHUNK_BYTES):
            await self._wire.held()
            if self.dead:
                continue
            answered = self._dialect.answered(chunk)
            if self._doomed is not None and self._doomed in answered:
                self._wire.was_cut()
                return
            writer.write(chunk)
            await writer.drain()
