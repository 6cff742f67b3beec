"""What a hostile client sends, and how: bytes over plain sockets, nothing that a library would mend."""

import asyncio
import hashlib
import hmac
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

SECRET = "the-secret-of-an-honest-sender"
MARK = "a-strangers-datum"
"""In every request that is broken on purpose; no log line may hold it."""

SIGNED = b'{"id": "pay_%s", "type": "PAYMENT", "status": "APPROVED"}' % MARK.encode()

_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3}) ")


@dataclass(frozen=True, slots=True)
class Hostile:
    """What is sent, and the statuses that may be told; none at all is always right."""

    parts: tuple[bytes, ...]
    statuses: frozenset[int]


def head(*headers: bytes, path: bytes = b"/webhooks/signed", line: bytes | None = None) -> bytes:
    """A request head, signed for the body SIGNED, with `headers` and no length of its own."""
    signature = hmac.new(SECRET.encode(), SIGNED, hashlib.sha256).hexdigest().encode()
    lines = (
        line or b"POST %s HTTP/1.1" % path,
        b"Host: recibo",
        b"X-Mark: " + MARK.encode(),
        b"X-Signature: sha256=" + signature,
        *headers,
    )
    return b"\r\n".join(lines) + b"\r\n\r\n"


def length(number: int) -> bytes:
    """The header that says how long the body is."""
    return b"Content-Length: %d" % number


VALID = head(length(len(SIGNED))) + SIGNED
LAST = head(length(len(SIGNED)), b"Connection: close") + SIGNED
"""The same, after which the other side closes."""
_WRONG = SIGNED.replace(b"APPROVED", b"REFUNDED")
_CHUNKED = b"Transfer-Encoding: chunked"


def _hostile(*parts: bytes, told: set[int]) -> Hostile:
    return Hostile(parts, frozenset(told))


KINDS: Mapping[str, Hostile] = {
    "nothing": _hostile(b"", told=set()),
    "half a line": _hostile(VALID[:20], told=set()),
    "half a head": _hostile(VALID[:80], told=set()),
    "no HTTP": _hostile(MARK.encode() + b"\r\n\r\n", told={400}),
    "random bytes": _hostile(Random(7).randbytes(5_000), told={400}),
    "a TLS hello": _hostile(bytes.fromhex("16030100c8010000c40303") + bytes(200), told={400}),
    "HTTP/2": _hostile(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", told={400}),
    "HTTP/0.9": _hostile(b"GET /\r\n\r\n", told={400}),
    "a long line": _hostile(head(path=b"/" + b"x" * 100_000), told={431}),
    "a long header": _hostile(head(b"X-Long: " + b"x" * 100_000), told={431}),
    "many headers": _hostile(head(*(b"X-%d: y" % n for n in range(10_000))), told={431}),
    "an endless head": _hostile(VALID[:80], *[b"X-Y: z\r\n" * 1_000] * 50, told={431}),
    "a NUL in the path": _hostile(head(length(0), path=b"/webhooks/\x00"), told={400, 404}),
    "a NUL in a header": _hostile(head(b"X-Nul: a\x00b", length(1)) + b"x", told={400}),
    "no path": _hostile(head(line=b"OPTIONS * HTTP/1.1"), told={404}),
    "CONNECT": _hostile(head(line=b"CONNECT recibo:443 HTTP/1.1"), told={400, 404}),
    "a switch of protocol": _hostile(
        head(b"Connection: Upgrade", b"Upgrade: websocket", length(len(_WRONG))) + _WRONG, told={400, 401}
    ),
    "a length too long": _hostile(head(length(len(_WRONG) + 9)) + _WRONG, told={408}),
    "a length too short": _hostile(head(length(len(_WRONG) - 9)) + _WRONG, told={400, 401}),
    "a negative length": _hostile(head(length(-1)) + _WRONG, told={400}),
    "no number for a length": _hostile(head(b"Content-Length: +0x9") + _WRONG, told={400}),
    "a length beyond all": _hostile(head(length(10**30)) + _WRONG, told={400, 413}),
    "two lengths": _hostile(head(length(9), length(len(_WRONG))) + _WRONG, told={400}),
    "length and chunks": _hostile(head(length(9), _CHUNKED) + b"0\r\n\r\n", told={400}),
    "two encodings": _hostile(head(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", told={400}),
    "no size of a chunk": _hostile(head(_CHUNKED) + b"zz\r\n" + _WRONG, told={400}),
    "a negative chunk": _hostile(head(_CHUNKED) + b"-5\r\n" + _WRONG, told={400}),
    "a chunk that runs over": _hostile(head(_CHUNKED) + b"2\r\n" + _WRONG, told={400}),
    "a chunk without an end": _hostile(head(_CHUNKED) + b"ffff\r\n" + _WRONG, told={408}),
    "an endless extension": _hostile(head(_CHUNKED) + b"2;" + b"x" * 100_000, told={400, 408}),
    "endless trailers": _hostile(head(_CHUNKED) + b"0\r\n" + b"X-Y: z\r\n" * 50_000, told={400, 408}),
    "a body over the limit": _hostile(head(length(2_000_000)) + b"x" * 2_000_000, told={413}),
    "a body that trickles": _hostile(head(length(99)), *(b"%d" % n for n in range(40)), told={408}),
    "a wrong signature": _hostile(head(length(len(_WRONG))) + _WRONG, told={401}),
    "no token": _hostile(head(length(900_000), path=b"/webhooks/token") + _WRONG, told={401}),
    "an unknown path": _hostile(head(length(9), path=b"/" + MARK.encode()) + b"x" * 9, told={404}),
    "many at once": _hostile((head(length(len(_WRONG))) + _WRONG) * 300, told={401}),
    "many and half of one": _hostile((head(length(len(_WRONG))) + _WRONG) * 40 + VALID[:80], told={401}),
}  # fmt: skip
"""By what is wrong with them. None is stored: the signature is that of another body."""


def cut(step: int) -> Iterator[bytes]:
    """A valid request, broken off at every `step`th byte."""
    return (VALID[:at] for at in range(1, len(VALID), step))


def mutated(rng: Random) -> bytes:
    """One or two valid requests with a few bytes changed, taken out, doubled or put in."""
    request = bytearray(VALID * rng.randint(1, 2))
    for _ in range(rng.randint(1, 6)):
        at, count = rng.randrange(len(request)), rng.randint(1, 8)
        match rng.randrange(5):
            case 0:
                request[at : at + count] = rng.randbytes(count)
            case 1:
                del request[at : at + count]
            case 2:
                request[at:at] = request[at : at + count] * rng.randint(1, 50)
            case 3:
                request[at:at] = rng.choice((b"\r\n", b"\n", b"\x00", b":", b" ", b"\t", b"0", b"\xff"))
            case _:
                request[at] ^= 1 << rng.randrange(8)
    return bytes(request)


async def statuses(port: int, *parts: bytes, waits_s: float = 0.02) -> list[int]:
    """What is told, until the other side closes, to who sends `parts` with a pause after each."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    told = bytearray()
    taking = asyncio.create_task(_take(reader, told))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            # A part is to arrive as a packet of its own; that the other side closes ends the sending.
            if (await asyncio.wait([taking], timeout=waits_s if len(parts) > 1 else 0))[0]:
                break
        await asyncio.wait_for(taking, 60)
    except ConnectionError:
        await asyncio.wait_for(taking, 60)
    finally:
        writer.close()
    return [int(status) for status in _STATUS.findall(bytes(told))]


async def _take(reader: asyncio.StreamReader, told: bytearray) -> None:
    try:
        while data := await reader.read(65_536):
            told += data
    except ConnectionError:
        return


async def broken_off(port: int, sent: bytes) -> None:
    """Send and be gone, with a reset instead of a farewell."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
