"""An aiohttp server whose handler does nothing: what the ingress is held against."""

import sys

import uvloop
from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """What a receipt is as long as."""
    await request.read()
    return web.Response(body=b'{"receipt":"main-1234567"}', content_type="application/json")


def serve(port: int) -> None:
    """Serve on `port` until the process is ended."""
    uvloop.install()
    app = web.Application()
    app.router.add_post("/webhooks/shop", answer)
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
