"""The HTTP side: verify a delivery, read its root, keep it, and only then answer.

In: `POST /webhooks/{source}`, or `/webhooks/{source}/{token}` where a check reads the URL. Out: a
receipt once the exact bytes are durable, or a problem. A crash before the append leaves nothing, and
nothing was answered; a crash after it leaves a delivery that its sender will repeat.

A stranger costs little: the body is read only after every check that does not need it, and one who floods
waits for the refusals.
"""

import datetime as dt
import functools
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

import orjson
import structlog
from aiohttp import web
from multidict import MultiDict, MultiMapping

from service import telemetry
from service.errors import TransientError
from service.eventlog.deliveries import REFUSED, NewDelivery
from service.ingress.addresses import Address, sender
from service.ingress.answers import Rejected, problem, quarantined, receipt
from service.ingress.bodies import Arriving, read_body
from service.ingress.headers import stored_headers
from service.ingress.lifeboat import Stored
from service.ingress.pace import Pace
from service.ingress.protocol import HttpConnection
from service.ingress.refusals import NO_SOURCE, Refusals
from service.ingress.roots import RootOf, Unrooted, read_root
from service.ingress.verify import Claim, Gate, Refusal
from service.settings import IngressSettings, Source

log = structlog.get_logger()

Append = Callable[[NewDelivery], Awaitable[Stored]]
"""Makes one delivery durable: GroupCommit.append. Raises TransientError where it cannot."""

Health = Callable[[], Mapping[str, object]]

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Query = MultiMapping[str]

REFUSED_BY_POSTGRES: Final = "Postgres refuses a value of it"

_KIND: Final = re.compile(r"[a-z_]{1,32}", re.ASCII)
_NO_QUERY: Final[_Query] = MultiDict()
_PROBES: Final = ("GET", "HEAD", "OPTIONS")
_STRANGERS: Final = frozenset({401, 403, 404, 405})
"""What those get who have no business here; the connection closes after it."""


def build(
    sources: Iterable[Source],
    *,
    append: Append,
    root_of: RootOf,
    health: Health,
    settings: IngressSettings,
) -> web.Application:
    """The application; service/ingress/server.py serves it."""
    app = web.Application()
    arriving = Arriving(settings.queue_bytes_max)
    front = _Front(settings)
    known: dict[str, _Known] = {}
    for source in sources:
        endpoint = _Endpoint(source, append=append, root_of=root_of, arriving=arriving, front=front)
        answer = front.answering(endpoint.deliver, source.name)
        known[source.name] = _Known(
            answer, front.answering(_refuse_path, source.name), reads_url=endpoint.reads_url
        )
        _route(app, f"/webhooks/{source.name}", answer)
        if endpoint.reads_url:
            _route(app, f"/webhooks/{source.name}/{{token}}", answer)
    _route(app, "/health", front.answering(_health_handler(health), NO_SOURCE))
    # Last, and for everything: so that no stranger is told `100 Continue` by aiohttp's own 404.
    _route(app, "/{anything:.*}", _elsewhere(known, front.answering(_refuse_unknown, NO_SOURCE)))
    return app


@dataclass(frozen=True, slots=True)
class _Known:
    """How requests to one source are answered."""

    answer: _Handler
    refuse_path: _Handler
    reads_url: bool


class _Front:
    """What all endpoints of an ingress share: how requests are refused, and how fast."""

    def __init__(self, settings: IngressSettings) -> None:
        self.settings = settings
        self.refusals = Refusals()
        self.pace = Pace()

    def address(self, request: web.Request) -> Address | None:
        """The address of the sender, as trusted proxies report it."""
        trusted = self.settings.trusted_proxies
        return sender(
            request.remote, request.headers.getall("X-Forwarded-For", ()) if trusted else (), trusted
        )

    def answering(self, handler: _Handler, source: str) -> _Handler:
        """The handler of requests to `source` that makes an answer of whatever `handler` raises."""

        # A wrapper for each handler and no middleware: aiohttp charges 2 µs a request for having one.
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except Rejected as error:
                rejected = error
            except ConnectionError:
                raise
            except Exception as error:
                log.error("ingress.failed", exc_info=error)
                rejected = Rejected(500, reason="failed")
            # Its frames hold the body, which is not to wait along.
            rejected.__traceback__ = None
            self.refusals.add(source, rejected.reason, _text(self.address(request)))
            if rejected.status in _STRANGERS:
                await self.pace.turn()
            return _problem(rejected)

        return answer


class _Endpoint:
    """One source's half of the application, with all that can be known beforehand."""

    def __init__(
        self,
        source: Source,
        *,
        append: Append,
        root_of: RootOf,
        arriving: Arriving,
        front: _Front,
    ) -> None:
        self._source = source
        self._gate = Gate(source.checks)
        self._append = append
        self._root_of = root_of
        self._arriving = arriving
        self._front = front
        self._settings = front.settings
        outcomes = telemetry.INGRESS_DELIVERIES
        self._stored = outcomes.labels(source=source.name, outcome="stored")
        self._quarantined = outcomes.labels(source=source.name, outcome="quarantined")
        self._unavailable = outcomes.labels(source=source.name, outcome="unavailable")

    @property
    def reads_url(self) -> bool:
        return self._gate.reads_url

    async def deliver(self, request: web.Request) -> web.StreamResponse:
        """The answer to one delivery."""
        if request.method != "POST":
            return await self._probe(request)
        received_at = dt.datetime.now(dt.UTC)
        query = request.query if request.query_string else _NO_QUERY
        claim = Claim(request.headers, _url_token(request, query), self._front.address(request))

        self._refuse(self._gate.refusal_of_head(claim))
        body = await read_body(request, self._arriving, self._settings)
        self._refuse(self._gate.refusal_of_body(claim, body, now=received_at.timestamp()))
        cast(HttpConnection, request.protocol).pass_checks()

        kind = _only(query.getall("kind", ()))
        kind = kind if kind is not None and _KIND.fullmatch(kind) else None
        root = read_root(self._source, body, kind, self._root_of)
        stored = await self._store(
            NewDelivery(
                source=self._source.name,
                account=self._source.account,
                provider=self._source.provider,
                root=None if isinstance(root, Unrooted) else root,
                kind=kind,
                received_at=received_at,
                trust=self._gate.trust,
                remote_ip=_text(claim.address),
                headers=stored_headers(request.headers.items(), self._source.headers_kept),
                body=body,
                body_sha256=hashlib.sha256(body).digest(),
            )
        )
        return self._answer(stored, root)

    async def _probe(self, request: web.Request) -> web.StreamResponse:
        """Answer a request of another method, such as one by which a provider's panel tests a URL."""
        if not self._source.answers_probes:
            raise Rejected(405, reason="method", headers={"Allow": "POST"})
        allowed = {"Allow": ", ".join(("POST", *_PROBES))}
        if request.method not in _PROBES:
            raise Rejected(405, reason="method", headers=allowed)
        self._front.refusals.add_probe(self._source.name, _text(self._front.address(request)))
        await self._front.pace.turn()
        answer = web.Response(headers=allowed)
        answer.force_close()
        return answer

    def _refuse(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            raise Rejected(refusal.status, reason=refusal.check)

    async def _store(self, delivery: NewDelivery) -> Stored:
        try:
            return await self._append(delivery)
        except TransientError as error:
            self._unavailable.inc()
            retry_after = {"Retry-After": str(self._settings.retry_after_s)}
            raise Rejected(503, reason="unavailable", headers=retry_after) from error

    def _answer(self, stored: Stored, root: str | Unrooted) -> web.StreamResponse:
        if stored.place == REFUSED:
            self._quarantined.inc()
            return quarantined(stored.place, stored.position, REFUSED_BY_POSTGRES)
        if isinstance(root, Unrooted):
            self._quarantined.inc()
            return quarantined(stored.place, stored.position, root.reason)
        self._stored.inc()
        return receipt(stored.place, stored.position)


def _route(app: web.Application, path: str, handler: _Handler) -> None:
    app.router.add_route("*", path, handler, expect_handler=_expect_later)


def _problem(rejected: Rejected) -> web.StreamResponse:
    answer = problem(rejected.status, rejected.title, headers=rejected.headers)
    if rejected.status in _STRANGERS:
        answer.force_close()
    return answer


def _elsewhere(known: Mapping[str, _Known], refuse: _Handler) -> _Handler:
    """The handler of paths without a route: those of a source with slashes too many, and unknown ones."""

    async def answer(request: web.Request) -> web.StreamResponse:
        # Decoded one by one, so that an escaped slash does not part them.
        first, name, *suffix = [*(part for part in request.rel_url.parts[1:] if part), "", ""]
        suffix = [part for part in suffix if part]
        source = known.get(name) if first == "webhooks" else None
        if source is None:
            return await refuse(request)
        if len(suffix) > source.reads_url:
            return await source.refuse_path(request)
        if suffix:
            (request.match_info["token"],) = suffix
        return await source.answer(request)

    return answer


async def _expect_later(_request: web.Request) -> None:
    """Leave `Expect: 100-continue` to the reading of the body: most refusals come before it."""


def _health_handler(health: Health) -> _Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method not in {"GET", "HEAD"}:
            raise Rejected(405, reason="method", headers={"Allow": "GET, HEAD"})
        return web.Response(body=orjson.dumps(dict(health())), content_type="application/json")

    return answer


async def _refuse_unknown(_request: web.Request) -> web.StreamResponse:
    raise Rejected(404, reason="unknown source")


async def _refuse_path(_request: web.Request) -> web.StreamResponse:
    # No more of it in any log line: a secret that no check reads is one all the same.
    raise Rejected(404, reason="path")


@functools.lru_cache(maxsize=4096)
def _text(address: Address | None) -> str | None:
    # To write one out takes 0.9 µs, of IPv6 3.7.
    return None if address is None else str(address)


def _url_token(request: web.Request, query: _Query) -> str | None:
    return request.match_info.get("token") or _only(query.getall("token", ()))


def _only(values: Sequence[str]) -> str | None:
    # Twice the same name is ambiguous: whoever stands before us may have read the other one.
    return values[0] if len(values) == 1 else None
