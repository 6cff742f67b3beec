"""What senders get, over a real socket: receipts, problems, and never a wrong word in between."""

import asyncio
import dataclasses
import gc
import gzip
import hashlib
import hmac
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial

import aiohttp
import orjson
import pytest
import structlog
from aiohttp import web
from prometheus_client import REGISTRY

from projections.facts import Unreadable
from service.checks import AddressCheck, AuthorizationCheck, HmacCheck, UrlTokenCheck
from service.declarations import Secret
from service.errors import TransientError
from service.ingress import app
from service.ingress.headers import WITHHELD
from service.ingress.pace import Pace
from service.ingress.protocol import HEAD_BYTES_MAX
from service.settings import HEADERS_ALWAYS_KEPT, IngressSettings, Source
from tests import hostility
from tests.ingresses import Ingress, running_ingress
from tests.servers import eventually
from tests.unit.ingress.log_fake import LogFake
from tests.unit.ingress.spill_fake import SpillFake

SECRET = "the-secret-of-the-tests"
BODY = b'{"id": "7"}'
LIMIT = 1_048_576
SETTINGS = IngressSettings(port=0)
IMPATIENT = IngressSettings(port=0, body_timeout_s=0.2)
HURRIED = IngressSettings(port=0, keepalive_timeout_s=0.2, client_timeout_s=0.2)

_LIVE = (Secret(SECRET.encode()),)
SOURCES = (
    Source(name="open", provider="gen", account="main", checks=()),
    Source(name="tokened", provider="gen", account="main", checks=(AuthorizationCheck(secrets=_LIVE),)),
    Source(name="in-url", provider="barte", account="in-url", checks=(UrlTokenCheck(secrets=_LIVE),)),
    Source(
        name="signed",
        provider="admin",
        account="signed",
        checks=(
            HmacCheck(
                header="x-signature",
                algorithm="sha256",
                encoding="hex",
                prefix="sha256=",
                secrets=_LIVE,
                timestamp_header=None,
                window_s=300,
                signed="body",
            ),
            UrlTokenCheck(secrets=_LIVE),
        ),
        headers_kept=HEADERS_ALWAYS_KEPT | {"x-request-id"},
    ),
    Source(name="probed", provider="gen", account="main", checks=(), answers_probes=True),
    Source(
        name="elsewhere",
        provider="gen",
        account="elsewhere",
        checks=(AddressCheck(allow=(ipaddress.ip_network("203.0.113.0/24"),)),),
    ),
)


def root_of(provider: str, account: str, document: object, kind: str | None) -> str:
    assert isinstance(document, dict)
    if "id" not in document:
        raise Unreadable("id: missing")
    return f"{account}:order:{document['id']}"


Starter = Callable[[IngressSettings], AbstractAsyncContextManager[Ingress]]


@pytest.fixture
def log() -> LogFake:
    return LogFake()


@pytest.fixture
def start(log: LogFake) -> Starter:
    return lambda settings: running_ingress(SOURCES, append=log.append, root_of=root_of, settings=settings)


@pytest.fixture
async def ingress(start: Starter) -> AsyncIterator[Ingress]:
    async with start(SETTINGS) as running:
        yield running


@pytest.fixture
async def impatient(start: Starter) -> AsyncIterator[Ingress]:
    """One that does not wait long for the rest of a body."""
    async with start(IMPATIENT) as running:
        yield running


@pytest.fixture
async def http(ingress: Ingress) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(ingress.url) as session:
        yield session


def request_of(path: str, body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    head = b"\r\n".join([method + b" " + path.encode() + b" HTTP/1.1", b"Host: recibo", *headers])
    return head + b"\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


def kept(path: str, body: bytes = BODY, *headers: bytes) -> bytes:
    """A request that leaves its connection open."""
    return request_of(path, body, *headers).replace(b"Connection: close\r\n", b"")


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def document_of(answer: bytes) -> Mapping[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    document = orjson.loads(body)
    assert isinstance(document, dict)
    return document


class TestReceipts:
    async def test_a_stored_delivery_gets_its_position_as_receipt(
        self, http: aiohttp.ClientSession, log: LogFake
    ) -> None:
        async with http.post("/webhooks/open", data=BODY) as first:
            assert (first.status, await first.json()) == (200, {"receipt": "main-1"})
        async with http.post("/webhooks/open", data=BODY) as second:
            assert await second.json() == {"receipt": "main-2"}

        assert [row.body for row in log.rows] == [BODY, BODY]

    async def test_a_row_holds_all_that_is_known_of_the_delivery(
        self, http: aiohttp.ClientSession, log: LogFake
    ) -> None:
        headers = {
            "X-Signature": "sha256=" + hmac.new(SECRET.encode(), BODY, "sha256").hexdigest(),
            "X-Request-Id": "r-1",
            "Content-Type": "application/json",
            "User-Agent": "provider/1",
        }

        async with http.post(
            f"/webhooks/signed?token={SECRET}&kind=withdraw", data=BODY, headers=headers
        ) as answer:
            assert answer.status == 200

        (row,) = log.rows
        assert (row.source, row.account, row.provider) == ("signed", "signed", "admin")
        assert (row.root, row.kind, row.trust) == ("signed:order:7", "withdraw", "hmac+url_token")
        assert (row.remote_ip, row.body, row.body_sha256) == (
            "127.0.0.1",
            BODY,
            hashlib.sha256(BODY).digest(),
        )
        assert row.received_at.tzinfo is not None
        stored = orjson.loads(row.headers)
        assert stored["x-signature"] == WITHHELD
        assert stored["x-request-id"] == "r-1"
        assert stored["user-agent"] == "provider/1"
        assert SECRET not in row.headers

    @pytest.mark.parametrize(
        ("query", "kind"),
        [
            ("kind=withdraw", "withdraw"),
            ("kind=Withdraw", None),
            ("kind=", None),
            ("kind=" + "a" * 33, None),
            ("kind=a&kind=b", None),
            ("kind=a%00", None),
            ("kind=%FF", None),
            ("other=a", None),
            ("&&=;%", None),
        ],
    )
    async def test_kind_is_the_urls_marker_or_null(
        self, query: str, kind: str | None, ingress: Ingress, log: LogFake
    ) -> None:
        answer = await ingress.exchange(request_of(f"/webhooks/open?{query}", BODY))

        assert status_of(answer) == 200
        assert log.rows[0].kind == kind

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"status=PAID", "body: not JSON"),
            (b"\xff\xfe", "body: not UTF-8"),
            (b"[]", "body: not a JSON object"),
            (b"{}", "id: missing"),
        ],
    )
    async def test_what_has_no_root_is_stored_and_said_to_be_quarantined(
        self, body: bytes, reason: str, http: aiohttp.ClientSession, log: LogFake
    ) -> None:
        async with http.post("/webhooks/open", data=body) as answer:
            assert answer.status == 200
            assert await answer.json() == {"receipt": "main-1", "status": "quarantined", "reason": reason}

        assert (log.rows[0].body, log.rows[0].root) == (body, None)

    async def test_what_postgres_refuses_is_said_to_be_quarantined(
        self, http: aiohttp.ClientSession, log: LogFake
    ) -> None:
        log.refused = frozenset({0})

        async with http.post("/webhooks/open", data=BODY) as answer:
            assert answer.status == 200
            assert await answer.json() == {
                "receipt": "refused-1",
                "status": "quarantined",
                "reason": "Postgres refuses a value of it",
            }

    async def test_odd_headers_are_stored_escaped(self, ingress: Ingress, log: LogFake) -> None:
        odd = request_of(
            "/webhooks/open", BODY, b"User-Agent: caf\xe9 \\", b"X-Odd: \xff", b"Date: a", b"Date: b"
        )

        answer = await ingress.exchange(odd)

        assert status_of(answer) == 200
        stored = orjson.loads(log.rows[0].headers)
        assert stored["user-agent"] == "caf\\xe9 \\\\"
        assert stored["date"] == "a, b"
        assert stored["x-odd"] == WITHHELD

    async def test_requests_on_one_connection_are_answered_in_order(self, ingress: Ingress) -> None:
        answer = await ingress.exchange(kept("/webhooks/open") * 2 + request_of("/webhooks/open", BODY))

        assert [b"main-%d" % n in answer for n in (1, 2, 3)] == [True] * 3
        assert answer.index(b"main-1") < answer.index(b"main-2") < answer.index(b"main-3")

    async def test_a_source_behind_a_trusted_proxy_is_known_by_its_own_address(
        self, start: Starter, log: LogFake
    ) -> None:
        trusting = dataclasses.replace(SETTINGS, trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))

        async with start(trusting) as ingress:
            allowed = await ingress.exchange(
                request_of("/webhooks/elsewhere", BODY, b"X-Forwarded-For: 1.2.3.4, 203.0.113.9")
            )
            invented = await ingress.exchange(
                request_of("/webhooks/elsewhere", BODY, b"X-Forwarded-For: 203.0.113.9, 1.2.3.4")
            )

        assert (status_of(allowed), status_of(invented)) == (200, 403)
        assert [row.remote_ip for row in log.rows] == ["203.0.113.9"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "headers", "status"),
        [
            ("/webhooks/tokened", {}, 401),
            ("/webhooks/tokened", {"Authorization": "Bearer wrong"}, 401),
            ("/webhooks/tokened", {"Authorization": SECRET}, 200),
            ("/webhooks/tokened", {"Authorization": f"Bearer {SECRET}"}, 200),
            ("/webhooks/tokened", {"Authorization": f"bearer {SECRET}"}, 200),
            ("/webhooks/tokened", {"Authorization": f"BEARER   {SECRET}"}, 200),
            ("/webhooks/in-url", {}, 401),
            ("/webhooks/in-url?token=wrong", {}, 401),
            (f"/webhooks/in-url?token={SECRET}&token={SECRET}", {}, 401),
            (f"/webhooks/in-url?token={SECRET}", {}, 200),
            (f"/webhooks/in-url/{SECRET}", {}, 200),
            ("/webhooks/in-url/wrong", {}, 401),
            (f"/webhooks/in-url/wrong?token={SECRET}", {}, 401),
            (f"/webhooks/signed?token={SECRET}", {}, 401),
            (f"/webhooks/signed?token={SECRET}", {"X-Signature": "00" * 32}, 401),
            ("/webhooks/elsewhere", {}, 403),
            ("/webhooks/elsewhere", {"X-Forwarded-For": "203.0.113.9"}, 403),
        ],
    )
    async def test_only_who_passes_every_check_gets_in(
        self, path: str, headers: Mapping[str, str], status: int, http: aiohttp.ClientSession, log: LogFake
    ) -> None:
        async with http.post(path, data=BODY, headers=headers) as answer:
            assert answer.status == status
            said = await answer.json(content_type=None)

        assert len(log.rows) == (1 if status == 200 else 0)
        if status != 200:
            assert sorted(said) == ["status", "title", "type"]

    async def test_no_secret_reaches_a_log_line_or_an_answer(
        self, ingress: Ingress, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        guess = "a-guess-that-is-somebodys-secret"
        requests = (
            request_of(f"/webhooks/in-url/{guess}", BODY),
            request_of(f"/webhooks/in-url?token={guess}", BODY),
            request_of("/webhooks/tokened", BODY, f"Authorization: {guess}".encode()),
            request_of(f"/webhooks/{guess}", BODY),
            request_of("/webhooks/open", BODY, f"Bad Header {guess}".encode()),
            f"{guess}\r\n\r\n".encode(),
        )

        with structlog.testing.capture_logs() as lines:
            answers = [await ingress.exchange(request) for request in requests]

        assert guess not in f"{lines} {answers} {caplog.text}"
        assert {line["event"] for line in lines} == {"ingress.refused"}

    async def test_a_strangers_body_is_not_read(self, impatient: Ingress) -> None:
        endless = (
            b"POST /webhooks/tokened HTTP/1.1\r\nHost: recibo\r\nContent-Length: 900000\r\n\r\nonly this"
        )

        answer = await impatient.exchange(endless)

        assert status_of(answer) == 401
        assert b"Connection: close" in answer

    async def test_a_stranger_is_not_told_to_continue(self, impatient: Ingress) -> None:
        asking = b"POST /webhooks/%b HTTP/1.1\r\nHost: r\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"

        for name, status in ((b"tokened", 401), (b"nobody", 404)):
            answer = await impatient.exchange(asking % name)
            assert status_of(answer) == status

    @pytest.mark.parametrize("path", ["/webhooks/tokened", "/webhooks/elsewhere", "/webhooks/nobody", "/"])
    async def test_a_stranger_loses_the_connection(self, path: str, ingress: Ingress, log: LogFake) -> None:
        refused, stored = kept(path), kept("/webhooks/open")

        answer = await ingress.exchange(refused + stored)

        assert status_of(answer) in {401, 403, 404}
        assert b"Connection: close" in answer
        assert answer.count(b"HTTP/1.1") == 1
        assert log.rows == []

    async def test_who_floods_is_told_the_same_and_does_not_hold_up_others(
        self, start: Starter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app, "Pace", lambda: Pace(per_second=0.001, burst=3))

        async with start(SETTINGS) as ingress, aiohttp.ClientSession(ingress.url) as http:
            answers = [await http.post("/webhooks/tokened", data=BODY) for _ in range(6)]
            honest = await http.post("/webhooks/open", data=BODY)

        assert [answer.status for answer in answers] == [401] * 6
        assert honest.status == 200


class TestProblems:
    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/webhooks",
            "/webhooks/",
            "/webhooks/nobody",
            "/webhooks/operator",
            "/webhooks/open/extra",
            "/webhooks/in-url/a/b",
            "/webhooks/open/open",
            "/webhooks/open/%2F",
            "/webhooks/open%2F",
            "/webhooks/%00",
            "/webhooks/../etc/passwd",
            "//",
        ],
    )
    async def test_an_unknown_path_is_not_found(self, path: str, ingress: Ingress, log: LogFake) -> None:
        answer = await ingress.exchange(request_of(path, BODY))

        assert status_of(answer) == 404
        assert document_of(answer) == {"type": "about:blank", "title": "Not Found", "status": 404}
        assert log.rows == []

    @pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE", b"OPTIONS", b"PATCH"])
    async def test_any_other_method_is_not_allowed(self, method: bytes, ingress: Ingress) -> None:
        answer = await ingress.exchange(request_of("/webhooks/tokened", BODY, method=method))

        assert status_of(answer) == 405
        assert b"Allow: POST" in answer
        assert document_of(answer)["status"] == 405

    async def test_a_path_that_is_none_is_a_problem_too(self, ingress: Ingress) -> None:
        answer = await ingress.exchange(request_of("*", b"", method=b"OPTIONS"))

        assert document_of(answer)["status"] == 404

    async def test_an_empty_body_is_refused(self, ingress: Ingress, log: LogFake) -> None:
        for request in (request_of("/webhooks/open", b""), chunked(b"", size=1)):
            assert document_of(await ingress.exchange(request))["status"] == 400
        assert log.rows == []

    async def test_a_request_that_is_no_http_gets_a_problem(self, ingress: Ingress) -> None:
        for request in (b"hello\r\n\r\n", request_of("/webhooks/open", BODY, b"no header")):
            assert document_of(await ingress.exchange(request)) == {
                "type": "about:blank",
                "title": "Bad Request",
                "status": 400,
            }

    @pytest.mark.parametrize(
        "headers",
        [(b"X-Long: " + b"x" * HEAD_BYTES_MAX,), [b"X-%d: y" % n for n in range(HEAD_BYTES_MAX // 9)]],
        ids=["one header", "many headers"],
    )
    async def test_a_head_over_the_limit_gets_a_problem(
        self, headers: Sequence[bytes], ingress: Ingress
    ) -> None:
        with structlog.testing.capture_logs() as lines:
            answer = await ingress.exchange(request_of("/webhooks/open", BODY, *headers))

        assert document_of(answer)["status"] == 431
        assert [(line["reason"], line["address"]) for line in lines] == [("long head", "127.0.0.1")]

    async def test_a_bug_is_a_problem_that_says_nothing(self, ingress: Ingress, log: LogFake) -> None:
        log.failures = [TransientError("away")]
        with structlog.testing.capture_logs():
            answer = await ingress.exchange(request_of("/webhooks/open", BODY))

        assert document_of(answer)["title"] == "Service Unavailable"

    async def test_health_is_json(self, http: aiohttp.ClientSession) -> None:
        async with http.get("/health") as answer:
            assert (answer.status, await answer.json()) == (
                200,
                {"queued_rows": 0, "queued_bytes": 0, "log": "ok"},
            )


class TestKnownSources:
    """What comes to a known source is kept wherever it can be, and no refusal of it goes untold."""

    @pytest.mark.parametrize(
        "path",
        [
            "/webhooks/open/",
            "/webhooks//open",
            "//webhooks///open//",
            "/webhooks/open/?kind=order",
            f"/webhooks/in-url//{SECRET}",
            f"/webhooks/in-url/{SECRET}/",
            f"/webhooks/in-url/?token={SECRET}",
        ],
    )
    async def test_a_slash_too_many_leads_to_the_same_source(
        self, path: str, ingress: Ingress, log: LogFake
    ) -> None:
        answer = await ingress.exchange(request_of(path, BODY))

        assert status_of(answer) == 200
        assert [row.source for row in log.rows] == ["in-url" if SECRET in path else "open"]

    @pytest.mark.parametrize("encoding", ["gzip", "UTF-8", "identity", "utf-8, gzip", "x" * 60_000])
    async def test_an_encoded_body_is_kept_as_sent(
        self, encoding: str, ingress: Ingress, log: LogFake
    ) -> None:
        packed = gzip.compress(BODY)

        answers = [
            await ingress.exchange(
                request_of("/webhooks/open", body, f"Content-Encoding: {encoding}".encode())
            )
            for body in (packed, BODY)
        ]

        assert [status_of(answer) for answer in answers] == [200, 200]
        assert b'"status":"quarantined","reason":"body: not UTF-8"' in answers[0]
        assert answers[1].endswith(b'{"receipt":"main-2"}')
        assert [row.body for row in log.rows] == [packed, BODY]
        assert [orjson.loads(row.headers)["content-encoding"] for row in log.rows] == [encoding] * 2

    @pytest.mark.parametrize("spare", [0, 1])
    async def test_a_head_of_the_limit_gets_a_receipt(self, spare: int, ingress: Ingress) -> None:
        short = len(request_of("/webhooks/open", BODY, b"X-Long: ").removesuffix(BODY))
        long = b"X-Long: " + b"c" * (HEAD_BYTES_MAX - spare - short)

        answer = await ingress.exchange(request_of("/webhooks/open", BODY, long))

        assert status_of(answer) == 200

    async def test_a_head_of_many_headers_gets_a_receipt(self, ingress: Ingress) -> None:
        many = [b"X-%d: y" % number for number in range(5_000)]

        assert status_of(await ingress.exchange(request_of("/webhooks/open", BODY, *many))) == 200

    @pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
    async def test_a_source_that_answers_probes_answers_them(
        self, method: bytes, ingress: Ingress, log: LogFake
    ) -> None:
        with structlog.testing.capture_logs() as lines:
            answer = await ingress.exchange(request_of("/webhooks/probed", b"", method=method))

        assert status_of(answer) == 200
        assert b"Allow: POST, GET, HEAD, OPTIONS" in answer
        assert answer.endswith(b"\r\n\r\n")
        assert log.rows == []
        assert [(line["event"], line["source"]) for line in lines] == [("ingress.probed", "probed")]

    async def test_a_source_that_answers_probes_refuses_other_methods(self, ingress: Ingress) -> None:
        answer = await ingress.exchange(request_of("/webhooks/probed", b"", method=b"PUT"))

        assert status_of(answer) == 405

    @pytest.mark.parametrize(
        ("request_", "status", "source", "reason"),
        [
            (request_of("/webhooks/open/a-secret-suffix", BODY), 404, "open", "path"),
            (request_of("/webhooks/in-url/a-secret-suffix/more", BODY), 404, "in-url", "path"),
            (request_of("/webhooks/open", b"", method=b"GET"), 405, "open", "method"),
            (request_of("/webhooks/in-url/a-secret-suffix", b"", method=b"GET"), 405, "in-url", "method"),
            (request_of("/webhooks/in-url/a-secret-suffix", BODY), 401, "in-url", "url_token"),
            (request_of("/webhooks/elsewhere", BODY), 403, "elsewhere", "address"),
            (request_of("/webhooks/open", b""), 400, "open", "empty body"),
            (request_of("/webhooks/open", b"x" * (LIMIT + 1)), 413, "open", "large body"),
            (request_of("/webhooks/open", BODY)[:-3], 408, "open", "slow body"),
            (request_of("/a-secret-suffix", BODY), 404, None, "unknown source"),
            (b"a-secret-suffix\r\n\r\n", 400, None, "malformed head"),
        ],
    )
    async def test_every_refusal_is_a_log_line_and_a_count_with_its_reason(
        self, request_: bytes, status: int, source: str | None, reason: str, impatient: Ingress
    ) -> None:
        labels = {"source": source or "", "reason": reason}
        before = REGISTRY.get_sample_value("recibo_ingress_refused_total", labels) or 0

        with structlog.testing.capture_logs() as lines:
            answer = await impatient.exchange(request_)

        assert status_of(answer) == status
        told = [(line["event"], line.get("source"), line["reason"], line["address"]) for line in lines]
        assert told == [("ingress.refused", source, reason, "127.0.0.1")]
        assert REGISTRY.get_sample_value("recibo_ingress_refused_total", labels) == before + 1
        assert "a-secret-suffix" not in str(lines)

    async def test_a_refusal_behind_a_proxy_names_the_senders_address(self, start: Starter) -> None:
        trusting = dataclasses.replace(SETTINGS, trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),))

        async with start(trusting) as ingress:
            with structlog.testing.capture_logs() as lines:
                await ingress.exchange(
                    request_of("/webhooks/tokened", BODY, b"X-Forwarded-For: 198.51.100.7")
                )

        assert [line["address"] for line in lines] == ["198.51.100.7"]

    async def test_where_nothing_can_be_stored_that_is_told_too(self, ingress: Ingress, log: LogFake) -> None:
        log.failures = [TransientError("away")]

        with structlog.testing.capture_logs() as lines:
            await ingress.exchange(request_of("/webhooks/open", BODY))

        told = [line for line in lines if line["event"] == "ingress.refused"]
        assert [(line["source"], line["reason"]) for line in told] == [("open", "unavailable")]


class TestUnavailable:
    async def test_while_the_log_is_away_the_receipt_is_that_of_the_spill(self, log: LogFake) -> None:
        log.failures = [TransientError("away")]
        spill = SpillFake(away=False)

        async with (
            running_ingress(
                SOURCES, append=log.append, root_of=root_of, settings=SETTINGS, spill=spill
            ) as ingress,
            aiohttp.ClientSession(ingress.url) as http,
        ):
            async with http.post("/webhooks/open", data=BODY) as answer:
                assert (answer.status, await answer.json()) == (200, {"receipt": "spill-3-0"})
            async with http.post("/webhooks/open", data=b"[]") as answer:
                assert await answer.json() == {
                    "receipt": "spill-3-1",
                    "status": "quarantined",
                    "reason": "body: not a JSON object",
                }

    async def test_while_both_stores_are_away_the_sender_is_told_when_to_retry(
        self, http: aiohttp.ClientSession, log: LogFake
    ) -> None:
        log.failures = [TransientError("away")]

        async with http.post("/webhooks/open", data=BODY) as answer:
            assert answer.status == 503
            assert answer.headers["Retry-After"] == "2"
            assert answer.content_type == "application/problem+json"
        async with http.post("/webhooks/open", data=BODY) as again:
            assert again.status == 503
        assert len(log.batches) == 1

    async def test_a_full_queue_is_told_at_once(self, start: Starter, log: LogFake) -> None:
        log.open.clear()

        async with start(dataclasses.replace(SETTINGS, queue_rows_max=1)) as ingress:
            waiting = [asyncio.create_task(ingress.exchange(request_of("/webhooks/open", BODY)))]
            await log.entered.wait()
            waiting.append(asyncio.create_task(ingress.exchange(request_of("/webhooks/open", BODY))))
            while ingress.batch.health()["queued_rows"] != 1:
                await ingress.exchange(request_of("/health", b"", method=b"GET"))
            refused = await ingress.exchange(request_of("/webhooks/open", BODY))
            log.open.set()
            answers = await asyncio.gather(*waiting)

        assert status_of(refused) == 503
        assert b"Retry-After: 2" in refused
        assert [status_of(answer) for answer in answers] == [200, 200]


async def is_closed(port: int) -> bool:
    """Whether nobody is connected to `port` of this machine, as its owner sees it."""
    with open("/proc/net/tcp") as table:  # noqa: ASYNC230, PTH123  Of the kernel: it does not block.
        connections = [line.split()[:4] for line in table]
    return not any(state == "01" and local.endswith(f":{port:04X}") for _, local, _, state in connections)


def chunked(body: bytes, *, size: int, path: str = "/webhooks/open") -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    head = (
        f"POST {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class TestBodies:
    async def test_a_body_of_exactly_the_limit_is_stored_whole(self, ingress: Ingress, log: LogFake) -> None:
        whole = bytes(range(256)) * (LIMIT // 256)

        for request in (request_of("/webhooks/open", whole), chunked(whole, size=60_000)):
            assert status_of(await ingress.exchange(request)) == 200

        assert [row.body == whole for row in log.rows] == [True, True]

    async def test_one_byte_more_is_refused_and_the_sender_sees_why(
        self, ingress: Ingress, log: LogFake
    ) -> None:
        over = b"x" * (LIMIT + 1)

        for request in (request_of("/webhooks/open", over), chunked(over, size=60_000)):
            answer = await ingress.exchange(request)
            assert document_of(answer)["status"] == 413
        assert log.rows == []

    async def test_a_declared_length_over_the_limit_is_refused_before_the_body_comes(
        self, impatient: Ingress
    ) -> None:
        head = (
            b"POST /webhooks/open HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
        )

        answer = await impatient.exchange(head % (LIMIT + 1))

        assert status_of(answer) == 413

    async def test_who_asks_is_told_to_continue(self, ingress: Ingress, log: LogFake) -> None:
        head = request_of("/webhooks/open", BODY, b"Expect: 100-continue").removesuffix(BODY)
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(head)

        told = await reader.readuntil(b"\r\n\r\n")
        writer.write(BODY)
        answer = await reader.read()
        writer.close()

        assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert status_of(answer) == 200
        assert log.rows[0].body == BODY

    async def test_a_body_in_many_pieces_is_stored_whole(self, ingress: Ingress, log: LogFake) -> None:
        request = request_of("/webhooks/open", BODY)

        answer = await ingress.exchange(*(request[at : at + 7] for at in range(0, len(request), 7)))

        assert status_of(answer) == 200
        assert log.rows[0].body == BODY

    async def test_half_a_body_is_never_stored(self, ingress: Ingress, log: LogFake) -> None:
        request = request_of("/webhooks/open", BODY)
        whole_chunks = chunked(BODY, size=4)

        with structlog.testing.capture_logs() as lines:
            for half in (request[:-3], whole_chunks[:-8], request[:30]):
                _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
                writer.write(half)
                await writer.drain()
                writer.close()
                await writer.wait_closed()
            after = await ingress.exchange(request_of("/webhooks/open", b'{"id": "after"}'))

        assert status_of(after) == 200
        assert [row.body for row in log.rows] == [b'{"id": "after"}']
        assert [line for line in lines if line["log_level"] != "debug"] == []

    async def test_a_body_that_takes_too_long_is_given_up(self, impatient: Ingress, log: LogFake) -> None:
        answer = await impatient.exchange(request_of("/webhooks/open", BODY)[:-3])

        assert document_of(answer)["status"] == 408
        assert log.rows == []

    @pytest.mark.parametrize(
        "broken", [b"zz\r\n{}\r\n0\r\n\r\n", b"2\r\n{}xx0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n"]
    )
    async def test_broken_framing_is_refused(self, broken: bytes, ingress: Ingress, log: LogFake) -> None:
        head = b"POST /webhooks/open HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"

        with structlog.testing.capture_logs() as lines:
            answer = await ingress.exchange(head, broken)

        assert document_of(answer)["status"] == 400
        assert log.rows == []
        assert [(line["source"], line["reason"]) for line in lines] == [("open", "broken body")]

    async def test_broken_framing_is_told_at_once(self, ingress: Ingress) -> None:
        head = b"POST /webhooks/open HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(head)
        for broken in (b"{}\r\n", b"zz\r\n"):
            # Each is read by itself: an answer to another request has come in between.
            await ingress.exchange(request_of("/health", b"", method=b"GET"))
            writer.write(broken)

        answer = await asyncio.wait_for(reader.read(), SETTINGS.body_timeout_s / 2)
        writer.close()

        assert document_of(answer)["status"] == 400

    async def test_where_bodies_under_way_fill_their_memory_the_one_that_took_longest_is_given_up(
        self, start: Starter, log: LogFake
    ) -> None:
        half = request_of("/webhooks/open", b"x" * LIMIT)[: -LIMIT // 2]
        patient = dataclasses.replace(
            SETTINGS, queue_bytes_max=2 * LIMIT, body_timeout_s=60, drain_timeout_s=0.1
        )

        async with start(patient) as ingress:
            slow = [await asyncio.open_connection("127.0.0.1", ingress.port) for _ in range(5)]
            for _, writer in slow:
                writer.write(half)
            told = [asyncio.create_task(reader.readuntil(b"\r\n\r\n")) for reader, _ in slow]
            done, others = await asyncio.wait(told, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            for task in others:
                task.cancel()
            for _, writer in slow:
                writer.close()

        assert [status_of(task.result()) for task in done] == [408]
        assert log.rows == []


class TestConnections:
    @pytest.mark.parametrize("wanted", [b"h2c", b"websocket"])
    async def test_behind_a_request_to_upgrade_nothing_is_answered(
        self, wanted: bytes, ingress: Ingress, log: LogFake
    ) -> None:
        upgrade = kept("/webhooks/open", b'{"id": "1"}', b"Connection: Upgrade", b"Upgrade: " + wanted)

        answer = await ingress.exchange(upgrade + kept("/webhooks/open"), kept("/webhooks/open"))

        assert answer.count(b"receipt") == 1
        assert [row.body for row in log.rows] == [b'{"id": "1"}']

    async def test_a_request_is_kept_whatever_is_sent_behind_it(self, ingress: Ingress, log: LogFake) -> None:
        answer = await ingress.exchange(kept("/webhooks/open") + b"no request\r\n\r\n")

        assert status_of(answer) == 200
        assert b"400 Bad Request" in answer
        assert [row.body for row in log.rows] == [BODY]

    async def test_a_trailer_is_no_header_of_the_next_request(self, ingress: Ingress, log: LogFake) -> None:
        first = chunked(BODY, size=4).replace(b"Connection: close\r\n", b"")
        trailed = first.removesuffix(b"\r\n") + b"User-Agent: a trailer\r\n\r\n"

        answer = await ingress.exchange(trailed + request_of("/webhooks/open", BODY))

        assert answer.count(b"receipt") == 1
        assert "trailer" not in str([row.headers for row in log.rows])

    async def test_a_sender_of_http_1_0_gets_one_answer(self, ingress: Ingress) -> None:
        asking = request_of("/webhooks/open", BODY, b"Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        writer.write(asking.removesuffix(BODY))

        # Had it been told to continue, that would come before the answer.
        beginning = asyncio.create_task(reader.read())
        await asyncio.wait([beginning], timeout=0.05)
        writer.write(BODY)
        answer = await beginning
        writer.close()

        assert answer.startswith(b"HTTP/1.0 200 OK")

    @pytest.mark.parametrize("cut", range(-1, 6))
    async def test_the_end_of_a_head_may_be_cut_anywhere(
        self, cut: int, ingress: Ingress, log: LogFake
    ) -> None:
        first, second = kept("/webhooks/open", b'{"id": "1"}'), request_of("/webhooks/open", BODY)
        at = first.index(b"\r\n\r\n") + cut
        reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)

        writer.write(first[:at])
        # What comes next is read by itself: an answer to another request has come in between.
        await ingress.exchange(request_of("/health", b"", method=b"GET"))
        writer.write(first[at:] + second)
        answer = await reader.read()
        writer.close()

        assert answer.count(b"receipt") == 2
        assert [row.body for row in log.rows] == [b'{"id": "1"}', BODY]

    async def test_a_head_may_come_in_any_pieces(self, ingress: Ingress, log: LogFake) -> None:
        request = b"\r\n\r\n" + kept("/webhooks/open")
        told = b""
        for size in (1, 2, 3, 5):
            reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
            for at in range(0, len(request), size):
                writer.write(request[at : at + size])
                await asyncio.sleep(0)
            told += await reader.readuntil(b"}")
            writer.close()

        assert told.count(b"receipt") == 4
        assert [row.body for row in log.rows] == [BODY] * 4


class TestSlowClients:
    @pytest.mark.parametrize("part", [b"", b"P", b"POST /webhooks/open HTTP/1.1\r\nHost: r\r\n"])
    async def test_who_never_sends_a_whole_head_is_closed(self, part: bytes, start: Starter) -> None:
        async with start(HURRIED) as ingress:
            assert await ingress.exchange(part) == b""

    @pytest.mark.parametrize("before", [b"", kept("/webhooks/open")])
    async def test_half_a_head_is_given_up_long_before_an_idle_connection(
        self, before: bytes, start: Starter
    ) -> None:
        async with start(dataclasses.replace(SETTINGS, client_timeout_s=0.2)) as ingress:
            with structlog.testing.capture_logs() as lines:
                answer = await ingress.exchange(before + b"POST /webhooks/open HTTP/1.1\r\nHo")

        assert answer.count(b"HTTP/1.1") == (1 if before else 0)
        told = [(line["reason"], line["address"]) for line in lines if line["event"] == "ingress.refused"]
        assert told == [("slow head", "127.0.0.1")]

    @pytest.mark.parametrize("before", [b"", kept("/webhooks/open")])
    async def test_an_idle_connection_stays_while_answers_and_heads_are_waited_for_less(
        self, before: bytes, start: Starter
    ) -> None:
        async with start(dataclasses.replace(SETTINGS, client_timeout_s=0.1)) as ingress:
            reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
            if before:
                writer.write(before)
                await reader.readuntil(b"}")
            # As long as it takes to be told that half a head is given up, twice.
            for _ in range(2):
                assert await ingress.exchange(b"P") == b""
            writer.write(request_of("/webhooks/open", BODY))
            answer = await reader.read()
            writer.close()

        assert status_of(answer) == 200

    async def test_a_request_that_begins_late_is_not_cut_off_as_idle(self, start: Starter) -> None:
        request = request_of("/webhooks/open", BODY)

        async with start(dataclasses.replace(SETTINGS, keepalive_timeout_s=0.2)) as ingress:
            reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
            writer.write(request[:20])
            # Until another one, opened later, is closed because it is idle.
            assert await ingress.exchange() == b""
            writer.write(request[20:])
            answer = await reader.read()
            writer.close()

        assert status_of(answer) == 200

    async def test_a_head_that_trickles_does_not_buy_time(self, start: Starter) -> None:
        async with start(HURRIED) as ingress:
            reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
            writer.write(b"POST / HTTP/1.1\r\n")
            closed = asyncio.create_task(reader.read())
            while not closed.done():
                writer.write(b"X-Y: z\r\n")
                await asyncio.wait([closed], timeout=0.05)
            writer.close()

        assert closed.result() == b""

    async def test_half_a_head_behind_a_whole_request_is_closed_after_the_answer(
        self, start: Starter, log: LogFake
    ) -> None:
        whole = kept("/webhooks/open")

        async with start(HURRIED) as ingress:
            answer = await ingress.exchange(whole + whole[:30])

        assert answer.count(b"HTTP/1.1") == 1
        assert len(log.rows) == 1

    @pytest.mark.parametrize("path", ["/webhooks/open", "/webhooks/nobody"])
    async def test_who_takes_no_answer_is_closed(
        self, path: str, start: Starter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(app, "Pace", lambda: Pace(per_second=1_000_000))
        asking = kept(path) * 1_000
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)  # noqa: FBT003  The standard library's way.

        async with start(dataclasses.replace(SETTINGS, client_timeout_s=0.2)) as ingress:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", ingress.port))
            with structlog.testing.capture_logs():
                # More than the buffers of both sides take.
                sending = asyncio.create_task(loop.sock_sendall(client, asking * 100))
                # The client may hear of it minutes later: with its window shut, it drops what would tell.
                await eventually(partial(is_closed, ingress.port), what="the ingress closed the connection")
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            client.close()

    @pytest.mark.parametrize(
        "sent",
        [
            b"no HTTP\r\n\r\n",
            request_of("*", b"", method=b"OPTIONS"),
            request_of("/webhooks/open", BODY),
            request_of("/webhooks/open", BODY)[:-3],
            kept("/webhooks/open") * 20,
        ],
        ids=["no HTTP", "no path", "whole", "half a body", "many"],
    )
    async def test_a_connection_that_is_gone_is_freed_without_the_garbage_collector(
        self, sent: bytes, start: Starter
    ) -> None:
        async with start(dataclasses.replace(HURRIED, body_timeout_s=0.2)) as ingress:
            gc.collect()
            gc.disable()
            try:
                await ingress.exchange(sent)
                await hostility.broken_off(ingress.port, sent)
                await ingress.exchange(request_of("/webhooks/open", BODY))
                for _ in range(10):
                    await asyncio.sleep(0)
                left = [found for found in gc.get_objects() if isinstance(found, web.RequestHandler)]
            finally:
                gc.enable()

        assert left == []

    async def test_one_connection_too_many_ends_the_one_that_was_idle_longest(
        self, start: Starter, log: LogFake
    ) -> None:
        async with start(dataclasses.replace(SETTINGS, connections_max=3)) as ingress:
            honest, silent, later = [
                await asyncio.open_connection("127.0.0.1", ingress.port) for _ in range(3)
            ]
            honest[1].write(kept("/webhooks/open"))
            await honest[0].readuntil(b'"main-1"}')
            answer = await ingress.exchange(request_of("/webhooks/open", BODY))
            assert await silent[0].read() == b""
            silent[1].close()
            for opened in (honest, later):
                opened[1].write(request_of("/webhooks/open", BODY))
                assert status_of(await opened[0].read()) == 200
                opened[1].close()

        assert status_of(answer) == 200
        assert len(log.rows) == 4

    @pytest.mark.parametrize("asking", [kept("/webhooks/open"), kept("/health").replace(b"POST", b"GET")])
    async def test_connections_that_asked_once_keep_no_new_one_out(
        self, asking: bytes, start: Starter
    ) -> None:
        async with start(dataclasses.replace(SETTINGS, connections_max=3)) as ingress:
            held = [await asyncio.open_connection("127.0.0.1", ingress.port) for _ in range(3)]
            for reader, writer in held:
                writer.write(asking)
                await reader.readuntil(b"}")
            answer = await ingress.exchange(request_of("/webhooks/open", BODY))
            for _, writer in held:
                writer.close()

        assert status_of(answer) == 200

    async def test_a_request_under_way_is_not_cut_off_to_make_room(
        self, start: Starter, log: LogFake
    ) -> None:
        log.open.clear()

        async with start(dataclasses.replace(SETTINGS, connections_max=1)) as ingress:
            waiting = asyncio.create_task(ingress.exchange(request_of("/webhooks/open", BODY)))
            await log.entered.wait()
            turned_out = await ingress.exchange()
            log.open.set()
            answer = await waiting

        assert turned_out == b""
        assert status_of(answer) == 200


class TestListening:
    @pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
    async def test_two_colons_stand_for_every_address_of_both_families(
        self, client: str, start: Starter, log: LogFake
    ) -> None:
        async with start(dataclasses.replace(SETTINGS, host="::")) as ingress:
            reader, writer = await asyncio.open_connection(client, ingress.port)
            writer.write(request_of("/webhooks/open", BODY))
            answer = await reader.read()
            writer.close()

        assert status_of(answer) == 200
        assert [row.remote_ip for row in log.rows] == [client]


class TestStopping:
    async def test_what_was_accepted_is_answered_and_nothing_new_is(
        self, start: Starter, log: LogFake
    ) -> None:
        log.open.clear()
        async with start(SETTINGS) as ingress:
            waiting = asyncio.create_task(ingress.exchange(request_of("/webhooks/open", BODY)))
            await log.entered.wait()

            ingress.stopping.set()
            while await ingress.accepts():
                pass
            log.open.set()
            answer = await waiting
            await ingress.stopped

        assert status_of(answer) == 200
        assert len(log.rows) == 1

    async def test_a_log_that_hangs_does_not_hold_it_up_for_ever(self, start: Starter, log: LogFake) -> None:
        log.open.clear()
        async with start(dataclasses.replace(SETTINGS, drain_timeout_s=0.1)) as ingress:
            waiting = asyncio.create_task(ingress.exchange(request_of("/webhooks/open", BODY)))
            await log.entered.wait()

            with structlog.testing.capture_logs() as lines:
                ingress.stopping.set()
                await ingress.stopped

        assert await waiting == b""
        assert "ingress.drain_given_up" in [line["event"] for line in lines]

    async def test_an_idle_connection_does_not_hold_it_up(self, start: Starter) -> None:
        async with start(SETTINGS) as ingress:
            reader, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
            writer.write(kept("/webhooks/open"))
            await reader.readuntil(b"main-1")

            ingress.stopping.set()
            await asyncio.wait_for(ingress.stopped, SETTINGS.drain_timeout_s)
            writer.close()
