"""Read a request's body: its exact bytes, whole, within the limits, or a rejection.

Nothing is decoded and nothing is cut: a body over the limit is refused at its declared length, or as
soon as that many bytes came. One whose sender stops halfway is never taken for a whole one.
"""

import asyncio

from aiohttp import web

from service.ingress.answers import Rejected
from service.settings import IngressSettings


async def read_body(request: web.Request, settings: IngressSettings) -> bytes:
    """The body as it came.

    Raises Rejected: 415 for any content-encoding, 413 over the limit, 408 where it takes too long, 400
    where it is empty or broken. Raises ConnectionError where the sender went away.
    """
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        raise Rejected(415, "Send the body without content-encoding", headers={"Accept-Encoding": "identity"})
    if request.content.is_eof():
        # Nearly always: the body came in one packet with its headers.
        body = _rest(request)
    else:
        body = await _collect(request, settings)
    if len(body) > settings.body_bytes_max:
        raise _too_large(settings)
    if not body:
        raise Rejected(400, "The body is empty")
    return body


def _rest(request: web.Request) -> bytes:
    try:
        return request.content.read_nowait()
    except web.RequestPayloadError as error:
        raise _broken() from error


async def _collect(request: web.Request, settings: IngressSettings) -> bytes:
    if (request.content_length or 0) > settings.body_bytes_max:
        raise _too_large(settings)
    if request.headers.get("Expect", "").strip().lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # As aiohttp's own does: the answer proper has not begun.
        request.writer.output_size = 0
    chunks = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            while chunk := await request.content.readany():
                chunks.append(chunk)
                size += len(chunk)
                if size > settings.body_bytes_max:
                    raise _too_large(settings)
    except TimeoutError as error:
        raise Rejected(408, "The body took too long") from error
    except web.RequestPayloadError as error:
        raise _broken() from error
    return b"".join(chunks)


def _too_large(settings: IngressSettings) -> Rejected:
    return Rejected(413, f"The body is over {settings.body_bytes_max} bytes")


def _broken() -> Rejected:
    return Rejected(400, "The body is broken off or wrongly framed")
