"""From a real socket to a real log: a receipt is a row, byte for byte, and nothing else is."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import orjson
import pytest
import structlog

from projections.facts import Unreadable
from service.checks import UrlTokenCheck
from service.declarations import Secret
from service.eventlog.deliveries import DeliveryLog
from service.postgres import pool
from service.settings import IngressSettings, Source
from tests.ingresses import Ingress, running_ingress

TOKEN = "the-token-of-the-tests"
SETTINGS = IngressSettings(port=0, batch_rows_max=50, append_timeout_s=30.0)
SOURCES = (
    Source(
        name="shop",
        provider="barte",
        account="main",
        checks=(UrlTokenCheck(secrets=(Secret(TOKEN.encode()),)),),
    ),
)


def root_of(provider: str, account: str, document: object, kind: str | None) -> str:
    assert isinstance(document, dict)
    if "uuid" not in document:
        raise Unreadable("uuid: missing")
    return f"{account}:order:{document['uuid']}"


@asynccontextmanager
async def ingress_on(url: str, settings: IngressSettings = SETTINGS) -> AsyncIterator[Ingress]:
    async with pool(url, application="test", size_max=2) as opened:
        log = DeliveryLog(opened, timeout_s=settings.append_timeout_s)
        async with running_ingress(SOURCES, append=log.append, root_of=root_of, settings=settings) as ingress:
            yield ingress


async def deliver(
    http: aiohttp.ClientSession, body: bytes, **headers: str
) -> tuple[int, Mapping[str, object]]:
    async with http.post(f"/webhooks/shop?token={TOKEN}&kind=order", data=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def rows_of(url: str) -> Sequence[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch("select * from delivery_log order by position")
    finally:
        await connection.close()


async def test_a_receipt_is_a_row_with_the_exact_bytes(database_url: str) -> None:
    bodies = [
        b'{"uuid":"1", "amount" : 1.10}\r\n',
        bytes(range(256)) * 4096,
        '{"uuid":"á"}'.encode(),
        b"\x00",
    ]
    async with ingress_on(database_url) as ingress, aiohttp.ClientSession(ingress.url) as http:
        answers = [await deliver(http, body, **{"User-Agent": "provider/1"}) for body in bodies]

    rows = await rows_of(database_url)
    assert [answer["receipt"] for _, answer in answers] == [f"main-{row['position']}" for row in rows]
    assert [row["body"] for row in rows] == bodies
    assert [row["body_sha256"] for row in rows] == [hashlib.sha256(body).digest() for body in bodies]
    assert [row["root"] for row in rows] == ["main:order:1", None, "main:order:á", None]
    assert [answer.get("status") for _, answer in answers] == [None, "quarantined", None, "quarantined"]


async def test_what_the_log_cannot_hold_gets_a_receipt_and_costs_nobody_else_theirs(
    database_url: str,
) -> None:
    bodies = [b'{"uuid": "%d"}' % n for n in range(20)]
    bodies[7] = b'{"uuid": "nul\\u0000"}'
    async with ingress_on(database_url) as ingress, aiohttp.ClientSession(ingress.url) as http:
        answers = await asyncio.gather(*(deliver(http, body) for body in bodies))

    told = [answer for _, answer in answers]
    connection = await asyncpg.connect(database_url)
    refused = await connection.fetch("select number, body from refused_delivery")
    await connection.close()
    assert {status for status, _ in answers} == {200}
    assert [(f"refused-{row['number']}", row["body"]) for row in refused] == [(told[7]["receipt"], bodies[7])]
    assert told[7]["status"] == "quarantined"
    others = [body for body in bodies if body is not bodies[7]]
    assert sorted(row["body"] for row in await rows_of(database_url)) == sorted(others)
    assert sorted(str(one["receipt"]) for one in told if one is not told[7]) == sorted(
        f"main-{n}" for n in range(1, 20)
    )


async def test_a_row_keeps_where_it_came_from_and_no_secret(database_url: str) -> None:
    async with ingress_on(database_url) as ingress, aiohttp.ClientSession(ingress.url) as http:
        await deliver(
            http, b'{"uuid": "1"}', Authorization="a-secret-in-a-header", **{"User-Agent": "provider/1"}
        )

    (row,) = await rows_of(database_url)
    headers = orjson.loads(row["headers"])
    assert (row["source"], row["account"], row["provider"]) == ("shop", "main", "barte")
    assert (row["kind"], row["trust"], row["remote_ip"]) == ("order", "url_token", "127.0.0.1")
    assert (headers["user-agent"], headers["authorization"]) == ("provider/1", "[withheld]")
    assert abs((row["recorded_at"] - row["received_at"]).total_seconds()) < 60
    assert TOKEN not in str(dict(row))


async def test_many_at_once_get_dense_positions_each_its_own(database_url: str) -> None:
    bodies = [b'{"uuid": "%d"}' % n for n in range(500)]
    async with ingress_on(database_url) as ingress, aiohttp.ClientSession(ingress.url) as http:
        answers = await asyncio.gather(*(deliver(http, body) for body in bodies))

    rows = {f"main-{row['position']}": row["body"] for row in await rows_of(database_url)}
    assert sorted(rows) == sorted(f"main-{n}" for n in range(1, 501))
    assert [rows[str(answer["receipt"])] for _, answer in answers] == bodies


async def test_while_postgres_is_away_senders_are_told_to_retry_and_nothing_claims_to_be_stored(
    database_url: str,
) -> None:
    parts = urlsplit(database_url)
    away = database_url.replace(str(parts.port), "1")
    async with ingress_on(away) as ingress, aiohttp.ClientSession(ingress.url) as http:
        with structlog.testing.capture_logs() as lines:
            status, problem = await deliver(http, b'{"uuid": "1"}')

    assert (status, problem["title"]) == (503, "Service Unavailable")
    assert "ingress.outcome_unknown" not in [line["event"] for line in lines]
    assert await rows_of(database_url) == []


async def test_an_append_whose_connection_is_lost_is_tried_again_and_accounted_for(database_url: str) -> None:
    async with ingress_on(database_url) as ingress, aiohttp.ClientSession(ingress.url) as http:
        admin = await asyncpg.connect(database_url)
        async with admin.transaction():
            await admin.execute("select * from log_head for update")
            with structlog.testing.capture_logs() as lines:
                delivering = asyncio.create_task(deliver(http, b'{"uuid": "1"}'))
                await _terminate_who_waits_for_a_lock(database_url)
        status, _ = await delivering
        await admin.close()

    rows = await rows_of(database_url)
    unknown = [line for line in lines if line["event"] == "ingress.outcome_unknown"]
    assert status == 200
    assert 1 <= len(rows) <= 1 + len(unknown)


async def _terminate_who_waits_for_a_lock(url: str) -> None:
    other = await asyncpg.connect(url)
    try:
        while not await other.fetchval(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        ):
            continue
    finally:
        await other.close()


@pytest.mark.parametrize("count", [200])
async def test_stopping_under_load_loses_no_receipt(database_url: str, count: int) -> None:
    async with ingress_on(database_url) as ingress, aiohttp.ClientSession(ingress.url) as http:
        delivering = [asyncio.create_task(deliver(http, b'{"uuid": "%d"}' % n)) for n in range(count)]
        await asyncio.wait(delivering, return_when=asyncio.FIRST_COMPLETED)
        ingress.stopping.set()
        outcomes = await asyncio.gather(*delivering, return_exceptions=True)
        await ingress.stopped

    receipts = {
        str(outcome[1]["receipt"]) for outcome in outcomes if isinstance(outcome, tuple) and outcome[0] == 200
    }
    stored = {f"main-{row['position']}" for row in await rows_of(database_url)}
    assert receipts
    assert receipts <= stored
