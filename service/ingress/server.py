"""The socket: accept connections until asked to stop, then answer what was accepted.

On stopping: no new connection, the requests under way are appended and answered, connections close. A
crash closes them without an answer, and the senders try again.

A slow or silent client holds a connection for as long as the settings say and next to no memory: what
it does not send, or does not take, is never waited for without end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import web

from service import telemetry
from service.ingress.answers import problem
from service.ingress.connections import Connections, allowed
from service.settings import IngressSettings

log = structlog.get_logger()

_BACKLOG = 1_024


async def serve(
    app: web.Application,
    stopping: asyncio.Event,
    *,
    drain: Callable[[], Awaitable[None]],
    settings: IngressSettings,
    listening: Callable[[int], None] | None = None,
) -> None:
    """Serve `app` until `stopping`; return once what was under way is answered and `drain` done.

    `listening` is told the port as soon as connections are accepted. Raises OSError where the address
    cannot be bound.
    """
    runner = web.AppRunner(app, shutdown_timeout=settings.drain_timeout_s)
    await runner.setup()
    manager = runner.server
    assert manager is not None
    loop = asyncio.get_running_loop()
    connections = Connections(allowed(settings.connections_max))

    def connection() -> _Connection:
        return _Connection(
            manager,
            connections,
            loop=loop,
            access_log=None,
            # The parser must hand on the bytes as they came; compressed ones are refused, not inflated.
            auto_decompress=False,
            # From the opening, or the last answer, to a whole head: bytes of one do not put it off.
            keepalive_timeout=settings.idle_timeout_s,
            # How long the rest of a refused body is read away, so that its sender sees the answer.
            lingering_time=settings.body_timeout_s,
        )

    try:
        server = await loop.create_server(connection, settings.host, settings.port, backlog=_BACKLOG)
        port: int = server.sockets[0].getsockname()[1]
        log.info("ingress.listening", host=settings.host, port=port)
        if listening is not None:
            listening(port)
        try:
            await stopping.wait()
        finally:
            server.close()
    finally:
        await runner.cleanup()
        await _drain(drain, settings.drain_timeout_s)
        log.info("ingress.stopped")


async def _drain(drain: Callable[[], Awaitable[None]], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await drain()
    except TimeoutError:
        # Nobody waits for an answer any more: what is left was never said to be stored.
        log.warning("ingress.drain_given_up", timeout_s=timeout_s)


class _Connection(web.RequestHandler):
    """One connection, which never quotes what came over it.

    aiohttp's own words about a request that it cannot even parse do, to the sender and in the log.
    """

    __slots__ = ("_connections", "_patience")

    def __init__(self, manager: web.Server, connections: Connections, **options: Any) -> None:
        super().__init__(manager, **options)
        self._connections = connections
        self._patience: asyncio.TimerHandle | None = None

    @property
    def has_asked(self) -> bool:
        return self._request_count > 0

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
        handler = self._task_handler
        super().connection_lost(exc)
        if handler is None:
            self._forget_requests()
        else:
            handler.add_done_callback(lambda _: self._forget_requests())

    def pause_writing(self) -> None:
        super().pause_writing()
        # Nothing else would end it: aiohttp's timer is for questions, and closing waits for the rest to go.
        if self.transport is not None:
            self._patience = self._loop.call_later(self.keepalive_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._cancel_patience()
        super().resume_writing()

    def _forget_requests(self) -> None:
        # Those behind the last one that was answered: each holds the connection, which holds it.
        for message, _ in self._messages:
            _release(getattr(message, "exc", None))
        self._messages.clear()

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
        telemetry.INGRESS_REJECTED.labels(status=str(status)).inc()
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("ingress.failed", exc_info=exc)
        _release(exc)
        answer = problem(status)
        answer.force_close()
        return answer

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        if isinstance(resp, web.HTTPException):
            # The router's own, for a target that is no path.
            telemetry.INGRESS_REJECTED.labels(status=str(resp.status)).inc()
            _release(resp)
            resp = problem(resp.status)
            resp.force_close()
        finished = await super().finish_response(request, resp, start_time)
        if self.writing_paused:
            # Receipts are written past aiohttp: they would pile up for one who pipelines and reads none.
            await self._drain_helper()
        return finished

    def log_exception(self, *_args: Any, **kwargs: Any) -> None:
        log.error("ingress.connection_failed", exc_info=kwargs.get("exc_info"))


def _release(error: BaseException | None) -> None:
    # Its traceback's frames hold the error and the connection: 40 kB for each bad request, until the garbage
    # collector comes by, which runs seldom here.
    if error is not None:
        error.__traceback__ = None
