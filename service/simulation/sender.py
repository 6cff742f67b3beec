"""Send one delivery as a provider does: authenticated, and again where it got no answer.

In: a delivery. Out: its last answer, each try a fsynced line of the ledger before the next one. What
is tried again is what providers try again and what can help: 503 and no answer at all. Their waits are
minutes and hours; here they are a fraction of a second, growing.
"""

import asyncio
import datetime as dt
import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from service.errors import PermanentError
from service.settings import Source
from service.simulation.ledger import Ledger, Line
from service.simulation.mixing import Delivery
from service.simulation.signing import forge, sign

TIMEOUT_S: Final = 10.0
"""What Admin and Aprovei give a receiver (docs/providers/admin.md, 1; aprovei.md, 1)."""

ATTEMPTS_MAX: Final = 5
"""As many as Aprovei makes (docs/providers/aprovei.md, 1)."""

_FIRST_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 1.0
_TRIED_AGAIN: Final = frozenset({None, HTTPStatus.SERVICE_UNAVAILABLE})
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": "recibo-simulate"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one delivery came to."""

    status: int | None
    """Null where no answer came."""
    error: str | None
    receipt: str | None
    quarantined: str | None
    """The reason, where the receiver said at once that it cannot interpret the body."""
    attempts: int


class Sender:
    """Sends to one ingress."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        sources: Iterable[Source],
        *,
        ledger: Ledger | None = None,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> None:
        self._session = session
        self._url = URL(url)
        self._sources = {source.name: source for source in sources}
        self._forged = {name: forge(source) for name, source in self._sources.items()}
        self._ledger = ledger
        self._attempts_max = attempts_max
        self._urls: dict[tuple[str, frozenset[tuple[str, str]]], URL] = {}
        self._sequence = 0

    async def send(self, delivery: Delivery) -> Answer:
        """The last answer to `delivery`. Raises what the ledger raises."""
        attempt, pause_s = 1, _FIRST_PAUSE_S
        while True:
            answer = await self._try(delivery, attempt)
            if answer.status not in _TRIED_AGAIN or attempt == self._attempts_max:
                return answer
            await asyncio.sleep(pause_s)
            attempt, pause_s = attempt + 1, min(2 * pause_s, _PAUSE_S_MAX)

    async def _try(self, delivery: Delivery, attempt: int) -> Answer:
        self._sequence += 1
        sequence, now = self._sequence, time.time()
        answer = await self._post(delivery, now, attempt)
        if self._ledger is not None:
            await self._ledger.append(_line(delivery, answer, sequence=sequence, now=now))
        return answer

    async def _post(self, delivery: Delivery, now: float, attempt: int) -> Answer:
        query, headers = sign(self._source(delivery), delivery.body, now=now)
        if delivery.kind is not None:
            query["kind"] = delivery.kind
        try:
            async with self._session.post(
                self._url_of(delivery.source, query), data=delivery.body, headers=_HEADERS | headers
            ) as response:
                return _answer(response.status, await response.read(), attempt)
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(
                status=None, error=type(error).__name__, receipt=None, quarantined=None, attempts=attempt
            )

    def _source(self, delivery: Delivery) -> Source:
        if delivery.mutation != "forged":
            return self._sources[delivery.source]
        forged = self._forged[delivery.source]
        if forged is None:
            raise PermanentError(f"source {delivery.source} checks no secret, so none can be forged")
        return forged

    def _url_of(self, source: str, query: dict[str, str]) -> URL:
        # Building one costs as much as all the rest of a request here, and there are few.
        key = source, frozenset(query.items())
        if key not in self._urls:
            self._urls[key] = (self._url / "webhooks" / source).with_query(query)
        return self._urls[key]


def session(*, connections: int) -> aiohttp.ClientSession:
    """A client as the senders share it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )


class _Document(msgspec.Struct):
    """What a receipt says."""

    receipt: str | None = None
    status: str | int | None = None
    reason: str | None = None


def _answer(status: int, body: bytes, attempt: int) -> Answer:
    try:
        document = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = _Document()
    return Answer(
        status=status,
        error=None,
        receipt=document.receipt,
        quarantined=document.reason if document.status == "quarantined" else None,
        attempts=attempt,
    )


def _line(delivery: Delivery, answer: Answer, *, sequence: int, now: float) -> Line:
    return Line(
        sequence=sequence,
        attempt=answer.attempts,
        source=delivery.source,
        kind=delivery.kind,
        sent_at=dt.datetime.fromtimestamp(now, dt.UTC).isoformat(timespec="microseconds"),
        body=delivery.body,
        body_sha256=hashlib.sha256(delivery.body).hexdigest(),
        mutation=delivery.mutation,
        status=answer.status,
        error=answer.error,
        receipt=answer.receipt,
    )


_decoder = msgspec.json.Decoder(_Document)
