"""One delivery as a provider sends it: authenticated, tried again, every try in the ledger."""

from pathlib import Path

import pytest
from aiohttp import web

from service.checks import UrlTokenCheck
from service.declarations import Secret
from service.errors import PermanentError
from service.settings import Source
from service.simulation import ledger, sender
from service.simulation.mixing import Delivery, Mutation
from service.simulation.sender import Sender
from tests.unit.simulation.receiver import Request, receipt, receiver

TOKEN = Secret(b"a token & its characters")
SHOP = Source(name="shop", provider="barte", account="shop", checks=(UrlTokenCheck(secrets=(TOKEN,)),))
OPEN = Source(name="open", provider="barte", account="open", checks=())


def delivery(mutation: Mutation = "none", *, source: str = "shop", kind: str | None = None) -> Delivery:
    return Delivery(source, b'{"a": 1}', kind, 0, mutation)


async def test_the_exact_bytes_arrive_with_the_secret_and_the_marker() -> None:
    async with receiver(receipt) as received, sender.session(connections=1) as session:
        answer = await Sender(session, received.url, [SHOP]).send(delivery(kind="withdraw"))

    request = received.requests[0]
    assert (request.path, request.body) == ("/webhooks/shop", b'{"a": 1}')
    assert request.query == {"token": TOKEN.decode(), "kind": "withdraw"}
    assert (answer.status, answer.receipt, answer.attempts) == (200, "main-1", 1)


async def test_a_503_is_tried_again_and_each_try_has_its_line(tmp_path: Path) -> None:
    def busy_twice(request: Request, before: int) -> web.Response:
        return web.Response(status=503) if before < 2 else receipt(request, before)

    path = tmp_path / "ledger.jsonl"
    async with (
        receiver(busy_twice) as received,
        sender.session(connections=1) as session,
        ledger.opened(path) as kept,
    ):
        answer = await Sender(session, received.url, [SHOP], ledger=kept).send(delivery())

    lines = list(ledger.read(path))
    assert (answer.status, answer.attempts) == (200, 3)
    assert [(line.sequence, line.attempt, line.status) for line in lines] == [
        (1, 1, 503),
        (2, 2, 503),
        (3, 3, 200),
    ]
    assert lines[2].receipt == answer.receipt


async def test_tries_are_bounded(tmp_path: Path) -> None:
    async with (
        receiver(lambda _request, _before: web.Response(status=503)) as received,
        sender.session(connections=1) as session,
    ):
        answer = await Sender(session, received.url, [SHOP], attempts_max=2).send(delivery())

    assert (answer.status, answer.attempts) == (503, 2)
    assert len(received.requests) == 2


async def test_no_answer_is_tried_again_and_its_line_says_why(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    async with sender.session(connections=1) as session, ledger.opened(path) as kept:
        # Nothing listens on the discard port.
        shop = Sender(session, "http://127.0.0.1:9", [SHOP], ledger=kept, attempts_max=2)
        answer = await shop.send(delivery())

    assert (answer.status, answer.attempts) == (None, 2)
    assert [(line.status, line.error) for line in ledger.read(path)] == [(None, "ClientConnectorError")] * 2


async def test_a_forged_delivery_shows_another_secret_and_is_tried_once() -> None:
    async with (
        receiver(lambda _request, _before: web.Response(status=401)) as received,
        sender.session(connections=1) as session,
    ):
        answer = await Sender(session, received.url, [SHOP]).send(delivery("forged"))

    assert (answer.status, answer.attempts) == (401, 1)
    assert received.requests[0].query["token"] != TOKEN.decode()


async def test_a_source_without_secrets_cannot_be_forged() -> None:
    async with sender.session(connections=1) as session:
        with pytest.raises(PermanentError, match="checks no secret"):
            await Sender(session, "http://127.0.0.1:9", [OPEN]).send(delivery("forged", source="open"))


async def test_a_delivery_that_is_quarantined_at_once_is_told_so() -> None:
    document = {"receipt": "main-1", "status": "quarantined", "reason": "domain: unknown"}

    async with (
        receiver(lambda _request, _before: web.json_response(document)) as received,
        sender.session(connections=1) as session,
    ):
        answer = await Sender(session, received.url, [SHOP]).send(delivery())

    assert (answer.receipt, answer.quarantined) == ("main-1", "domain: unknown")
