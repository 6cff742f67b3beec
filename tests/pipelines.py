"""Requests on one connection that an ingress may mix up, cut anywhere, and the answer that each must get.

Nothing here parses a request: it knows where each begins and ends because it wrote it.
"""

import asyncio
import hashlib
import hmac
import itertools
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

import orjson

SECRET = "the-secret-of-an-honest-sender"

CONFIG = """
[ingress]
append_timeout_s = 30.0
body_timeout_s = 60.0

[sources.open]
provider = "admin"
checks = "none"

[sources.signed]
provider = "admin"
checks = [{ kind = "hmac", header = "X-Signature", prefix = "sha256=", secrets = ["file:secret"] }]
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it is sent, and what must follow from it."""

    kind: str
    sent: bytes
    status: int
    """What must be answered, if anything is."""
    body: bytes = b""
    header_names: frozenset[str] = frozenset()
    closes: bool = False
    """Whether nothing behind it on the same connection may be answered."""


@dataclass(slots=True)
class Answer:
    """One answer as it was read."""

    status: int
    body: bytes

    @property
    def receipt(self) -> str | None:
        """The receipt, or null."""
        document = orjson.loads(self.body) if self.body else {}
        receipt = document.get("receipt")
        assert receipt is None or isinstance(receipt, str)
        return receipt


@dataclass(slots=True)
class Exchange:
    """What was sent over one connection and what came back until the other side closed."""

    requests: Sequence[Request]
    segments: Sequence[bytes]
    answers: list[Answer] = field(default_factory=list)

    def __str__(self) -> str:
        kinds = [request.kind for request in self.requests]
        return f"{kinds} in {len(self.segments)} segments: {[answer.status for answer in self.answers]}"


class Generator:
    """Endless exchanges, all of them different, from one seed."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._number = 0

    def exchange(self) -> Exchange:
        """Up to nine requests, the last of which ends the connection."""
        make = [self._rng.choice(self._MAKERS) for _ in range(self._rng.randint(0, 8))]
        requests = [one(self) for one in make] + [self._closing()]
        return Exchange(requests, self._cut(b"".join(request.sent for request in requests)))

    def _cut(self, sent: bytes) -> list[bytes]:
        count = self._rng.choice((1, 1, 2, 3, 10, 60))
        cuts = sorted(self._rng.randrange(len(sent)) for _ in range(count - 1))
        bounds = [0, *cuts, len(sent)]
        return [sent[begin:end] for begin, end in itertools.pairwise(bounds) if begin < end]

    def _body(self) -> bytes:
        self._number += 1
        body = b'{"id":"pay_%d","type":"PAYMENT","status":"APPROVED"' % self._number
        match self._rng.randrange(6):
            case 0:
                body += b',"filler":"%s"' % (b"x" * self._rng.randint(1, 300_000))
            case 1:
                # Who takes this for a request answers, or stores, one that was never sent.
                body += b"\r\n\r\nPOST /webhooks/open HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\n\r\n{}"
            case _:
                pass
        return body + b"}"

    def _request(
        self,
        kind: str,
        *headers: bytes,
        status: int = 200,
        closes: bool = False,
        body: bytes | None = None,
        line: bytes = b"POST /webhooks/open HTTP/1.1",
        framed: Callable[[bytes], tuple[Sequence[bytes], bytes]] | None = None,
    ) -> Request:
        body = self._body() if body is None else body
        framing, sent = framed(body) if framed else ([b"Content-Length: %d" % len(body)], body)
        fields = [b"Host: r", *headers, *framing]
        self._rng.shuffle(fields)
        return Request(
            kind,
            b"\r\n".join([line, *fields, b"", sent]),
            status,
            body,
            frozenset(one.split(b":")[0].decode().lower() for one in fields),
            closes,
        )

    def _plain(self) -> Request:
        return self._request("plain")

    def _odd(self) -> Request:
        odd = (
            b"X-Empty:",
            b"X-Odd: \xff\xfe",
            b"Connection: keep-alive",
            b"Expect: 100-continue",
            b"X-Long: " + b"y" * self._rng.randint(1, 60_000),
            b"Content-Encoding: gzip",
            b"Upgrade: h2c",
            b"Connection: upgrade",
            b"TE: trailers",
            b"Trailer: X-Signature",
            b"Content-Type: application/json ",
            b"Connection: X-Signature",
        )
        line = self._rng.choice(
            (
                b"POST /webhooks/open HTTP/1.1",
                b"POST http://elsewhere/webhooks/open HTTP/1.1",
                b"POST /webhooks/open?kind=order&x=%0D%0A HTTP/1.1",
                b"\r\n\r\nPOST /webhooks/open HTTP/1.1",
                b"POST //webhooks/open/ HTTP/1.1",
            )
        )
        # No two that ask for an upgrade together: that is a kind of its own.
        chosen = self._rng.sample([one for one in odd if b"pgrade" not in one], self._rng.randint(1, 4))
        chosen += self._rng.sample([one for one in odd if b"pgrade" in one], self._rng.randint(0, 1))
        return self._request("odd", *chosen, line=line)

    def _signed(self) -> Request:
        body = self._body()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest().encode()
        line = b"POST /webhooks/signed HTTP/1.1"
        return self._request("signed", b"X-Signature: sha256=" + signature, body=body, line=line)

    def _forged(self) -> Request:
        line = b"POST /webhooks/signed HTTP/1.1"
        return self._request(
            "forged", b"X-Signature: sha256=" + b"0" * 64, line=line, status=401, closes=True
        )

    def _unknown(self) -> Request:
        return self._request("unknown", line=b"POST /webhooks/nobody HTTP/1.1", status=404, closes=True)

    def _empty(self) -> Request:
        return self._request("empty", body=b"", status=400)

    def _upgrade(self) -> Request:
        wanted = self._rng.choice((b"h2c", b"websocket", b"TLS/1.0", b"h2c, websocket"))
        headers = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: " + wanted, b"HTTP2-Settings: AAEAAEA")
        return self._request("upgrade", *headers, closes=True)

    def _connect(self) -> Request:
        return self._request("connect", line=b"CONNECT elsewhere:443 HTTP/1.1", status=404, closes=True)

    def _chunked(self) -> Request:
        return self._request("chunked", framed=self._chunks, closes=True)

    def _chunks(self, body: bytes) -> tuple[Sequence[bytes], bytes]:
        extension = self._rng.choice((b"", b";a=b", b';a="\\"b"'))
        trailers = self._rng.sample(
            (b"X-Signature: sha256=" + b"0" * 64, b"User-Agent: a trailer", b"Connection: close", b"X-T:"),
            self._rng.randint(0, 3),
        )
        sent, at = b"", 0
        while at < len(body):
            size = min(self._rng.choice((1, 7, 50_000)), len(body) - at, 50 + len(body) // 20)
            sent += b"%x%b\r\n%b\r\n" % (size, extension, body[at : at + size])
            at += size
        return [b"Transfer-Encoding: chunked"], b"\r\n".join([sent + b"0", *trailers, b"", b""])

    def _old(self) -> Request:
        headers = self._rng.sample((b"Connection: keep-alive", b"Expect: 100-continue"), 1)
        return self._request("HTTP/1.0", *headers, line=b"POST /webhooks/open HTTP/1.0", closes=True)

    def _malformed(self) -> Request:
        post = b"POST /webhooks/open HTTP/1.1\r\nHost: r\r\n"
        chunked = b"Transfer-Encoding: chunked\r\n"
        sent = self._rng.choice(
            (
                b"no request at all\r\n\r\n",
                post + b"X-Mark a\r\nContent-Length: 2\r\n\r\n{}",
                post + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
                post + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
                post + b"Content-Length: 2\r\n" + chunked + b"\r\n2\r\n{}\r\n0\r\n\r\n",
                post + chunked + b"\r\nzz\r\n{}\r\n\r\n",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            )
        )
        return Request("malformed", sent, 400, closes=True)

    def _closing(self) -> Request:
        return self._request("closing", b"Connection: close", closes=True)

    _MAKERS = (
        *(_plain, _plain, _plain, _odd, _odd, _signed, _signed, _empty),
        *(_forged, _unknown, _upgrade, _connect, _chunked, _old, _malformed, _closing),
    )


async def run(port: int, exchange: Exchange) -> Exchange:
    """Send all of it, however much is answered, and read until the other side closes."""
    loop = asyncio.get_running_loop()
    # A plain socket: a stream forgets what it has read once it cannot write any more.
    with socket.socket() as client:
        client.setblocking(False)  # noqa: FBT003  The standard library's way.
        await loop.sock_connect(client, ("127.0.0.1", port))
        reading = asyncio.create_task(_read(client))
        try:
            for segment in exchange.segments:
                await loop.sock_sendall(client, segment)
                # A segment is to arrive by itself.
                await asyncio.wait([reading], timeout=0.001)
        except ConnectionError:
            pass
        exchange.answers.extend(_answers(await asyncio.wait_for(reading, 60)))
    return exchange


async def _read(client: socket.socket) -> bytes:
    read = bytearray()
    try:
        while data := await asyncio.get_running_loop().sock_recv(client, 65_536):
            read += data
    except ConnectionError:
        # It closed with bytes unread, as behind a malformed request.
        pass
    return bytes(read)


def _answers(read: bytes) -> Iterator[Answer]:
    while read:
        head, _, read = read.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        status = int(line.split(b" ")[1])
        lengths = [int(one.split(b":")[1]) for one in fields if one.lower().startswith(b"content-length:")]
        if status >= 200:
            (length,) = lengths
            yield Answer(status, read[:length])
            read = read[length:]
