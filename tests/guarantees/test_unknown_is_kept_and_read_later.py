"""Promise 7: what cannot be interpreted is quarantined with the reason, and read once the code knows how."""

import asyncio
from collections.abc import Mapping
from typing import Any

import asyncpg
import orjson
import pytest

from projections.fold import Root
from projections.providers import admin, aprovei, barte, gen
from service.eventlog.deliveries import NewDelivery
from service.kafka import topics
from service.postgres import Connection
from tests.bodies import document, encoded, rooted, said
from tests.deliveries import admin_payment, new_delivery
from tests.projectors import fold_up_to, projector_of, receive, retry_of
from tests.relays import drain, published, relay_of
from tests.servers import Kafka

ROOTS = 50


def arrived(provider: str, sent: Mapping[str, Any]) -> NewDelivery:
    """As the ingress stores it: with the root, which is readable whatever the status says."""
    return new_delivery(encoded(sent), provider=provider, root=rooted(provider, sent))


def gen_payment(status: str, date: str) -> dict[str, Any]:
    envelope = document("gen", "pix_created")
    envelope["data"] |= {"status": status, "updated_at": date}
    return envelope


def known_and_unknown() -> list[tuple[NewDelivery, NewDelivery]]:
    """Of each provider: a delivery that says pending, and one whose word no table has."""
    later = {"updated_at": "2025-10-08T12:00:00Z"}
    return [
        (
            arrived("barte", document("barte", "order_sent")),
            arrived("barte", document("barte", "order_paid", status="SETTLED")),
        ),
        (
            arrived("admin", document("admin", "payment_pending")),
            arrived("admin", document("admin", "payment_approved", status="SETTLED") | later),
        ),
        (
            arrived("gen", gen_payment("PENDING", "2025-10-07T15:00:00.250Z")),
            arrived("gen", gen_payment("CHARGEBACK_REVERSED", "2025-10-08T12:00:00.000Z")),
        ),
        (
            arrived("aprovei", document("aprovei", "new_sale")),
            arrived("aprovei", document("aprovei", "sale_approved", payment_status="settled")),
        ),
    ]


def learn(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    """Every adapter knows that `words` mean paid."""
    for table in (barte._STATUSES["order"], admin._STATUSES["order"], gen._STATUSES, aprovei._STATUSES):
        for word in words:
            monkeypatch.setitem(table, word, "paid")


async def test_an_unknown_status_is_quarantined_with_its_reason_and_folded_once_it_is_known(
    database_url: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = known_and_unknown()
    end = await receive(database_url, kafka, [one for pair in pairs for one in pair])
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
    owner = await asyncpg.connect(database_url)
    reasons = await _reasons(owner)
    assert sorted(reasons) == [2, 4, 6, 8]
    assert [reasons[at].partition(":")[0] for at in (2, 4, 6, 8)] == [
        "status",
        "status",
        "dispute",
        "payment_status",
    ]
    assert await _statuses(owner) == {"pending": 4}

    async with retry_of(database_url) as retry:
        assert (await retry.quarantined()).still == 4
        learn(monkeypatch, "SETTLED", "CHARGEBACK_REVERSED")
        retried = await retry.quarantined()

    assert (retried.folded, retried.still) == (4, 0)
    assert await _reasons(owner) == {}
    assert await _statuses(owner) == {"paid": 4}
    await owner.close()
    await drain(relay_of("events", database_url, kafka))
    told = await published(kafka, (topics.QUARANTINE,))
    kept = {orjson.loads(record.value or b"")["receipt"]: record for record in told}
    assert sorted(kept) == ["main-2", "main-4", "main-6", "main-8"]
    assert {orjson.loads(kept["main-6"].value or b"")["reason"]} == {reasons[6]}
    paid = [
        orjson.loads(record.value or b"")
        for record in await published(kafka, ("orders",))
        if record.headers["ce_type"] == "order.paid"
    ]
    assert sorted(event["cause"]["position"] for event in paid) == [2, 4, 6, 8]
    assert {event["previous_status"] for event in paid} == {"pending"}


async def test_a_delivery_without_a_root_gets_one_by_retry_once_its_kind_is_known(
    database_url: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = document("barte", "order_paid", domain="CARD_ORDER")
    end = await receive(database_url, kafka, [new_delivery(encoded(unknown), provider="barte", root=None)])
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
    owner = await asyncpg.connect(database_url)
    assert (await _reasons(owner))[1].startswith("domain: ")

    monkeypatch.setitem(barte._AGGREGATES, "CARD_ORDER", "order")
    async with retry_of(database_url) as retry:
        retried = await retry.quarantined()

    orders = await owner.fetch("select root, status from order_state")
    await owner.close()
    assert (retried.folded, retried.still) == (1, 0)
    assert [tuple(order) for order in orders] == [(rooted("barte", unknown), "paid")]


async def test_a_retry_beside_a_running_projector_under_load_loses_nothing(
    database_url: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("PENDING", "SETTLED", "IN_DISPUTE", "APPROVED", "CHARGEBACK", "SETTLED", "REFUNDED", "APPROVED")
    waves = [
        [admin_payment(f"pay_{n}", word, f"2025-11-03T13:0{minute}:00Z") for n in range(ROOTS)]
        for minute, word in enumerate(words)
    ]
    end = await receive(database_url, kafka, waves[0] + waves[1])
    owner = await asyncpg.connect(database_url)
    written = asyncio.Event()

    async def write() -> dict[int, int]:
        reached: dict[int, int] = {}
        for wave in waves[2:]:
            reached = await receive(database_url, kafka, wave)
        written.set()
        return reached

    async def retry_meanwhile() -> None:
        async with retry_of(database_url) as retry:
            while not written.is_set() or (await retry.quarantined()).still:
                await retry.quarantined()

    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
        assert len(await _reasons(owner)) == ROOTS
        learn(monkeypatch, "SETTLED")
        writing = asyncio.create_task(write())
        retrying = [asyncio.create_task(retry_meanwhile()) for _ in range(2)]
        async with projector.joined() as consumer:
            while not writing.done():
                await projector.run_once(consumer)
        await fold_up_to(projector, await writing)
        await asyncio.gather(*retrying)

    timelines = await owner.fetch("select root, document from timeline")
    events = await owner.fetch("select topic, key, event_id, headers from event_log order by position")
    left = await _reasons(owner)
    await owner.close()
    assert left == {}
    assert {one["root"]: one["document"] for one in timelines} == _expected(waves)
    ids = [event["event_id"] for event in events]
    assert len(ids) == len(set(ids))
    for n in range(ROOTS):
        versions = [
            orjson.loads(event["headers"])["ce_sequence"]
            for event in events
            if event["topic"] == "orders.state" and event["key"] == f"shop:order:pay_{n}"
        ]
        assert versions == [f"0001.{version:010}" for version in range(1, len(words) + 1)]


def _expected(waves: list[list[NewDelivery]]) -> dict[str, bytes]:
    """The timelines of all that was sent, folded without a database."""
    roots: dict[str, Root] = {}
    for sent in (one for wave in waves for one in wave):
        fact = said(sent.provider, sent.body)
        roots[fact.root] = roots.get(fact.root, Root.decode(fact.root, None)).join(fact)
    return {name: root.encode() for name, root in roots.items()}


async def _reasons(connection: Connection) -> dict[int, str]:
    rows = await connection.fetch("select position, reason from quarantine")
    return {row["position"]: row["reason"] for row in rows}


async def _statuses(connection: Connection) -> dict[str, int]:
    rows = await connection.fetch("select status, count(*) from order_state group by 1")
    return {row["status"]: row["count"] for row in rows}
