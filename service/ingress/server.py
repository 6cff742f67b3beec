"""The socket: accept connections until asked to stop, then answer what was accepted.

On stopping: no new connection, the requests under way are appended and answered, connections close. A
crash closes them without an answer, and the senders try again.

A slow or silent client holds a connection for as long as the settings say and next to no memory: what
it does not send, or does not take, is never waited for without end.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from service.ingress.connections import Connections, allowed
from service.ingress.protocol import HttpConnection
from service.ingress.refusals import Refusals
from service.settings import IngressSettings

log = structlog.get_logger()

_BACKLOG: Final = 1_024
_EVERY_ADDRESS: Final = "::"
"""Of both families."""


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
    refusals = Refusals()

    def connection() -> HttpConnection:
        return HttpConnection(
            manager,
            connections,
            refusals,
            client_timeout_s=settings.client_timeout_s,
            loop=loop,
            access_log=None,
            # The parser must hand on the bytes as they came.
            auto_decompress=False,
            keepalive_timeout=settings.keepalive_timeout_s,
            # How long the rest of a refused body is read away, so that its sender sees the answer.
            lingering_time=settings.body_timeout_s,
        )

    try:
        server = await _listen(connection, settings)
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


async def _listen(connection: Callable[[], HttpConnection], settings: IngressSettings) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    if settings.host != _EVERY_ADDRESS:
        return await loop.create_server(connection, settings.host, settings.port, backlog=_BACKLOG)
    # The event loop would have it take IPv6 alone.
    listening = socket.create_server(
        (settings.host, settings.port), family=socket.AF_INET6, dualstack_ipv6=True
    )
    return await loop.create_server(connection, sock=listening, backlog=_BACKLOG)


async def _drain(drain: Callable[[], Awaitable[None]], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await drain()
    except TimeoutError:
        # Nobody waits for an answer any more: what is left was never said to be stored.
        log.warning("ingress.drain_given_up", timeout_s=timeout_s)
