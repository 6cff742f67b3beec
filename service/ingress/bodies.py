"""Read a request's body: its exact bytes, whole, within the limits, or a rejection.

Nothing is decoded and nothing is cut: a body over the limit is refused at its declared length, or as
soon as that many bytes came. One whose sender stops halfway is never taken for a whole one.

All bodies that are under way share a limit too. Where they come to it, the one that has taken longest is
given up: a sender who means it is done in milliseconds, one who trickles would have timed out anyway.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aiohttp import HttpVersion11, web

from service.ingress.answers import Rejected
from service.settings import IngressSettings


@dataclass(eq=False, slots=True)
class _Arrival:
    """A body under way."""

    patience: asyncio.Timeout
    size: int = 0


class Arriving:
    """The bodies that are under way at one ingress, and how much they hold together."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._oldest_first: dict[_Arrival, None] = {}

    @contextmanager
    def one(self, patience: asyncio.Timeout) -> Iterator[_Arrival]:
        """One more, while the context is open; `patience` ends at once if it must make room."""
        arrival = _Arrival(patience)
        self._oldest_first[arrival] = None
        try:
            yield arrival
        finally:
            self._forget(arrival)

    def grow(self, arrival: _Arrival, count: int) -> None:
        """Take note of `count` bytes more of `arrival`."""
        arrival.size += count
        if arrival not in self._oldest_first:
            # Given up already, while these bytes waited for their turn.
            return
        self._bytes += count
        while self._bytes > self._bytes_max and self._oldest_first:
            oldest = next(iter(self._oldest_first))
            self._forget(oldest)
            if not oldest.patience.expired():
                oldest.patience.reschedule(0)

    def _forget(self, arrival: _Arrival) -> None:
        # Given up to make room, it was forgotten before it ends.
        if arrival in self._oldest_first:
            del self._oldest_first[arrival]
            self._bytes -= arrival.size


async def read_body(request: web.Request, arriving: Arriving, settings: IngressSettings) -> bytes:
    """The body as it came.

    Raises Rejected: 413 over the limit, 408 where it takes too long, 400 where it is empty or broken. Raises
    ConnectionError where the sender went away.
    """
    if request.content.is_eof():
        # Nearly always: the body came in one packet with its headers.
        body = _rest(request)
    else:
        body = await _collect(request, arriving, settings)
    if len(body) > settings.body_bytes_max:
        raise _too_large(settings)
    if not body:
        raise Rejected(400, "The body is empty", reason="empty body")
    return body


def _rest(request: web.Request) -> bytes:
    try:
        return request.content.read_nowait()
    except web.RequestPayloadError as error:
        raise _broken() from error


async def _collect(request: web.Request, arriving: Arriving, settings: IngressSettings) -> bytes:
    if (request.content_length or 0) > settings.body_bytes_max:
        raise _too_large(settings)
    # A sender of HTTP/1.0 would take it for the answer.
    if (
        request.version == HttpVersion11
        and request.headers.get("Expect", "").strip().lower() == "100-continue"
    ):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # As aiohttp's own does: the answer proper has not begun.
        request.writer.output_size = 0
    chunks = []
    try:
        async with asyncio.timeout(settings.body_timeout_s) as patience:
            with arriving.one(patience) as arrival:
                while chunk := await request.content.readany():
                    chunks.append(chunk)
                    arriving.grow(arrival, len(chunk))
                    if arrival.size > settings.body_bytes_max:
                        raise _too_large(settings)
    except TimeoutError as error:
        raise Rejected(408, "The body took too long", reason="slow body") from error
    except web.RequestPayloadError as error:
        raise _broken() from error
    return b"".join(chunks)


def _too_large(settings: IngressSettings) -> Rejected:
    return Rejected(413, f"The body is over {settings.body_bytes_max} bytes", reason="large body")


def _broken() -> Rejected:
    return Rejected(400, "The body is broken off or wrongly framed", reason="broken body")
