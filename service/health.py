"""`GET /health` and `GET /metrics` of a process, on a port of their own.

`/health` is `{"status": "ok", "roles": {<role>: {…}}}` as long as the process turns its loop; the
details are the roles' own. Nothing here is for the public: bind it where only the operator can reach.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from service.settings import HealthSettings

log = structlog.get_logger()

Details = Callable[[], Mapping[str, object]]


@asynccontextmanager
async def serve_health(roles: Mapping[str, Details], settings: HealthSettings) -> AsyncIterator[int | None]:
    """Serve both while the context is open; yields the port, null where none is configured."""
    if settings.port is None:
        yield None
        return
    runner = web.AppRunner(_application(roles), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        port: int = runner.addresses[0][1]
        log.info("health.listening", host=settings.host, port=port)
        yield port
    finally:
        await runner.cleanup()


def _application(roles: Mapping[str, Details]) -> web.Application:
    async def health(_request: web.Request) -> web.Response:
        document = {"status": "ok", "roles": {name: dict(details()) for name, details in roles.items()}}
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_get("/metrics", metrics)
    return app
