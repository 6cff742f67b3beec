"""A small receiver: answers what it is told to, and remembers what it was sent."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    url: str = ""
    requests: list[Request] = field(default_factory=list)


@asynccontextmanager
async def receiver(answer: Callable[[Request, int], web.Response]) -> AsyncIterator[Receiver]:
    """Serve `answer(request, how many came before)` while the context is open."""
    received = Receiver()

    async def take(request: web.Request) -> web.Response:
        taken = Request(request.path, dict(request.query), dict(request.headers), await request.read())
        received.requests.append(taken)
        return answer(taken, len(received.requests) - 1)

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_post("/webhooks/{source}", take)
    async with TestServer(app) as server:
        received.url = str(server.make_url(""))
        yield received


def receipt(_request: Request, before: int) -> web.Response:
    return web.json_response({"receipt": f"main-{before + 1}"})
