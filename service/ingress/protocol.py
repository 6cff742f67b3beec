"""One connection: take its bytes apart into requests, one at a time, and answer each before the next is read.

In: bytes, however they are cut. Out: the n-th answer belongs to the n-th request, or the connection closes.
A crash closes the connection without an answer, and the sender tries again.

aiohttp's parser (3.14) reads ahead, and what it reads behind a request can be lost or mixed up: after
`Upgrade: h2c` it drops the rest of the segment, a malformed request takes the well-formed ones before it
along, and the trailers of a chunked body become headers of the next request. So the parser gets the bytes of
one request only, up to the end that its head declares; what comes behind waits here until the answer is
written. Where the head declares no length, or a proxy may see the end elsewhere, the connection closes after
the answer.

This module alone uses private parts of aiohttp. tests/unit/ingress/test_aiohttp_private.py lists them and
fails when one is gone; pyproject.toml bounds the release line.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast

import structlog
from aiohttp import HttpVersion11, StreamReader, hdrs, web
from aiohttp.http import HttpProcessingError, RawRequestMessage
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import _ErrInfo

from service.ingress.answers import problem
from service.ingress.connections import Connections
from service.ingress.refusals import NO_SOURCE, Refusals

log = structlog.get_logger()

HEAD_BYTES_MAX: Final = 65_536
"""Of a request line and all headers together."""

_HEAD_ENDS: Final = b"\r\n\r\n"
_BLANKS: Final = b"\r\n"
_BLANK: Final = (b"\r", b"\n")
"""Senders may put blank lines before a request (RFC 9112, 2.2), and the first of them is no end of a head."""
_SHORTEST_HEADER: Final = 4
_UNKNOWN: Final = -1
"""The length of a body whose end the parser finds, such as a chunked one, or a proxy may see elsewhere."""


class HttpConnection(web.RequestHandler):
    """One connection, which never quotes what came over it.

    aiohttp's own words about a request that it cannot even parse do, to the sender and in the log.
    """

    __slots__ = (
        "_behind", "_behind_at", "_body", "_client_timeout_s", "_connections", "_has_passed", "_head_end",
        "_head_size", "_head_timer", "_is_busy", "_is_last", "_left", "_patience", "_refusals",
    )  # fmt: skip

    def __init__(
        self,
        manager: web.Server,
        connections: Connections,
        refusals: Refusals,
        *,
        client_timeout_s: float,
        **options: Any,
    ) -> None:
        # The size of a whole head is limited here; aiohttp knows limits of its parts alone.
        super().__init__(
            manager,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            max_headers=HEAD_BYTES_MAX // _SHORTEST_HEADER,
            **options,
        )
        self._connections = connections
        self._refusals = refusals
        self._client_timeout_s = client_timeout_s
        self._has_passed = False
        self._is_busy = False
        self._patience: asyncio.TimerHandle | None = None
        self._head_size = 0
        """Bytes of a head that has not come whole."""
        self._head_end = b""
        """The last of them: the end may be cut anywhere."""
        self._head_timer: asyncio.TimerHandle | None = None
        self._body: StreamReader | None = None
        """Of the request under way; null between requests."""
        self._left = 0
        """Bytes of that body that have not come."""
        self._is_last = False
        """Whether the connection closes after the answer to the request under way."""
        self._behind = b""
        """What came behind the request under way, from `_behind_at` on."""
        self._behind_at = 0

    @property
    def is_busy(self) -> bool:
        return self._is_busy

    def pass_checks(self) -> None:
        """Take note that the request under way passed the checks of its source."""
        if not self._has_passed:
            self._has_passed = True
            self._connections.passed(self)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # Thus writing pauses whenever the client has not taken all that it was told.
        cast(asyncio.Transport, transport).set_write_buffer_limits(high=0)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.closed(self)
        self._cancel_patience()
        if self._head_timer is not None:
            self._head_timer.cancel()
        handler = self._task_handler
        super().connection_lost(exc)
        self._behind = b""
        if handler is None:
            self._forget_request()
        else:
            handler.add_done_callback(lambda _: self._forget_request())

    def data_received(self, data: bytes) -> None:
        """Parse `data` up to the end of the request under way; the rest waits for its answer."""
        if not (self._close or self._force_close):
            self._receive(data, 0)

    # The way of a request that comes in one piece is laid out in few functions: more of them cost 3 %.

    def _receive(self, data: bytes, at: int) -> None:
        if self._body is None:
            at = self._receive_head(data, at)
        if self._body is not None and (at < len(data) or not self._body.is_eof()):
            self._receive_body(self._body, data, at)

    def _receive_head(self, data: bytes, at: int) -> int:
        """Parse `data` from `at` to the end of the head, or all of it; returns where that is."""
        assert self._parser is not None
        if not self._head_size and data[at : at + 1] in _BLANK:
            at = len(data) - len(data[at:].lstrip(_BLANKS))
        if at == len(data):
            return at
        end = _end_of_head(self._head_end, data, at)
        is_whole = end > 0
        end = end or len(data)
        self._head_size += end - at
        if self._head_size > HEAD_BYTES_MAX:
            self._refuse_head(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, BadHttpMessage("too long"))
            return end
        try:
            messages, _, _ = self._parser.feed_data(data[at:end])
        except HttpProcessingError as error:
            self._refuse_head(HTTPStatus.BAD_REQUEST, error)
            return end
        if messages:
            message, body = messages[0]
            is_doubtful = message.upgrade or message.chunked or message.version != HttpVersion11
            # A head that ends where nobody else sees its end is as doubtful as a body that does.
            self._is_last = is_doubtful or not is_whole
            # The parser refuses a second length, and all that is no number.
            self._left = _UNKNOWN if is_doubtful else int(message.headers.get(hdrs.CONTENT_LENGTH, 0))
            self._begin_request(message, body)
        elif is_whole:
            self._refuse_head(HTTPStatus.BAD_REQUEST, BadHttpMessage("whole, and no request"))
        else:
            self._head_end = (self._head_end + data[at:])[-len(_HEAD_ENDS) + 1 :]
            self._await_head()
        return end

    def _begin_request(self, message: RawRequestMessage | _ErrInfo, body: StreamReader) -> None:
        self._head_size = 0
        self._head_end = b""
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._body = body
        self._is_busy = True
        self._request_count += 1
        self._messages.append((message, body))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _refuse_head(self, status: int, error: Exception) -> None:
        self._is_last = True
        self._left = _UNKNOWN
        self._begin_request(_ErrInfo(status, error, ""), EMPTY_PAYLOAD)

    def _await_head(self) -> None:
        if self._head_timer is not None:
            return
        self._head_timer = self._loop.call_later(self._client_timeout_s, self._give_up_head)
        # A request that has begun is not cut off because the connection was idle before.
        if self._keepalive_handle is not None:
            self._keepalive_handle.cancel()
            self._keepalive_handle = None

    def _give_up_head(self) -> None:
        peer = self.peername
        self._refusals.add(NO_SOURCE, "slow head", str(peer[0]) if isinstance(peer, tuple) else None)
        self.force_close()

    def _receive_body(self, body: StreamReader, data: bytes, at: int) -> None:
        assert self._parser is not None
        end = len(data)
        if self._left != _UNKNOWN:
            end = min(end, at + self._left)
            self._left -= end - at
        try:
            # Without data the parser goes on with what it held back while the body was read too slowly.
            if (at < end or not data) and not body.is_eof():
                # Requests behind a body without a length are read along, and dropped.
                self._parser.feed_data(data[at:end])
        except HttpProcessingError as error:
            self._is_last = True
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError())
                body.feed_eof()
            _release(error)
        if end < len(data) and not self._is_last:
            self._hold(data, end)

    def _hold(self, data: bytes, at: int) -> None:
        if self._behind:
            data, at = self._behind[self._behind_at :] + data[at:], 0
        self._behind, self._behind_at = data, at
        if not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _resume_reading_if_drained(self) -> None:
        # Called by aiohttp at each request that it takes up.
        if not self._behind:
            self._resume_reading_for_buffer()

    def _receive_next(self) -> None:
        """Begin with what came behind the request that was answered."""
        self._body = None
        self._connections.answered(self)
        data, at = self._behind, self._behind_at
        self._behind = b""
        if data:
            self._receive(data, at)
            self._resume_reading_if_drained()

    def pause_writing(self) -> None:
        super().pause_writing()
        # Nothing else would end it: aiohttp's timer is for questions, and closing waits for the rest to go.
        if self.transport is not None:
            self._patience = self._loop.call_later(self._client_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_patience()
        super().resume_writing()

    def _forget_request(self) -> None:
        # One that was not answered: it holds the connection, which holds it.
        for message, _ in self._messages:
            _release(getattr(message, "exc", None))
        self._messages.clear()
        self._body = None

    def _cancel_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  It quotes the request.
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            _release(exc)
            # Nobody is there to read it. To raise instead would leave a cycle in aiohttp's handler.
            return problem(status)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("ingress.failed", exc_info=exc)
        else:
            is_long = status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            reason = "long head" if is_long else "malformed head"
            self._refusals.add(NO_SOURCE, reason, request.remote)
        _release(exc)
        answer = problem(status)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):
            # The router's own, for a target that is no path.
            self._refusals.add(NO_SOURCE, "unknown source", request.remote)
            _release(resp)
            resp = problem(resp.status)
            resp.force_close()
        # What was not read would stand before the next request.
        if self._is_last or self._body is None or not self._body.is_eof():
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        self._is_busy = False
        if self.writing_paused:
            # Receipts are written past aiohttp: they would pile up for one who pipelines and reads none.
            await self._drain_helper()
        if resp.keep_alive and not (self._close or self._force_close):
            self._receive_next()
        return finished

    def log_exception(self, *_args: Any, **kwargs: Any) -> None:
        log.error("ingress.connection_failed", exc_info=kwargs.get("exc_info"))


def _end_of_head(before: bytes, data: bytes, at: int) -> int:
    """Where in `data` the head ends that begins at `at`, or that came up to `before` so far; 0 if nowhere."""
    found = (before + data if before else data).find(_HEAD_ENDS, at)
    return found + len(_HEAD_ENDS) - len(before) if found >= 0 else 0


def _release(error: BaseException | None) -> None:
    # Its traceback's frames hold the error and the connection: 40 kB for each bad request, until the garbage
    # collector comes by, which runs seldom here.
    if error is not None:
        error.__traceback__ = None
