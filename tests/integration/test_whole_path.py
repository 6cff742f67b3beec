"""From HTTP to the domain event in Kafka, through every role as a process of its own."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from service.kafka import topics
from tests.bodies import ALL, body, document, encoded, raw
from tests.relays import Published, published
from tests.servers import Kafka
from tests.systems import system

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
MARKERS = {"withdrawal_approved": "?kind=withdraw"}
"""What the registered URL of a sample ends with."""
MEBIBYTE = 1024 * 1024


async def test_every_sample_becomes_events_that_their_schemas_and_the_official_sdk_take(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    samples = [(provider, name) for provider, name in ALL if provider != "operator"]

    async with system(database_url, kafka, tmp_path) as running:
        for provider, name in samples:
            path = f"/webhooks/{provider}{MARKERS.get(name, '')}"
            assert (await running.post(path, body(provider, name)))[0] == 200, (provider, name)
        assert (await running.post("/webhooks/admin", b"[]"))[1]["status"] == "quarantined"
        await running.settle()

    records = await published(kafka, topics.EVENT_TOPICS)
    for record in records:
        _assert_is_a_cloud_event_by_its_schema(record)
    told = {record.headers["ce_type"] for record in records}
    assert told >= {"order.paid", "dispute.charged_back", "withdrawal.approved", "cart.abandoned"}
    assert told >= {"subscription.past_due", "delivery.quarantined", "order.state", "cart.state"}


@pytest.mark.parametrize("provider", ["admin", "aprovei"])
async def test_a_body_of_exactly_a_mebibyte_reaches_the_state_and_one_byte_more_is_refused(
    database_url: str, kafka: Kafka, tmp_path: Path, provider: str
) -> None:
    name = {"admin": "payment_approved", "aprovei": "sale_approved"}[provider]
    readable = _padded(encoded(document(provider, name)), MEBIBYTE)
    unreadable = b"\xff" * MEBIBYTE

    async with system(database_url, kafka, tmp_path) as running:
        path = f"/webhooks/{provider}"
        answers = [await running.post(path, sent) for sent in (readable, unreadable, readable + b" ")]
        await running.settle()

    owner = await asyncpg.connect(database_url)
    orders = await owner.fetch("select status, facts from order_state")
    quarantined = await owner.fetch("select position, reason from quarantine")
    await owner.close()
    assert [status for status, _ in answers] == [200, 200, 413]
    assert [tuple(row) for row in orders] == [("paid", 1)]
    assert [tuple(row) for row in quarantined] == [(2, "body: not UTF-8")]
    assert [len(record.value or b"") for record in await published(kafka)] == [MEBIBYTE, MEBIBYTE]


BAD: list[tuple[str, bytes]] = [
    ("barte", b"status=PAID"),
    ("barte", b"\xff\xfe{}"),
    ("barte", b"[]"),
    ("barte", b"17"),
    ("barte", b"null"),
    ("barte", encoded(document("barte", "order_paid", domain="CARD"))),
    ("barte", encoded(document("barte", "order_paid", uuid=None))),
    ("barte", encoded(document("barte", "order_paid", uuid="a\x00b"))),
    ("barte", encoded(document("barte", "order_paid", uuid="x" * 8192))),
    ("barte", encoded(document("barte", "order_paid", refunds=None) | {"refunds": 7})),
    ("barte", encoded(document("barte", "order_paid", dateTime="yesterday"))),
    ("admin", encoded(document("admin", "payment_approved", amount="25890"))),
    ("admin", encoded(document("admin", "payment_approved", amount=2**63))),
    ("admin", encoded(document("admin", "payment_approved", updated_at="2025-02-30T00:00:00Z"))),
    ("admin", encoded(document("admin", "payment_approved", status="SETTLED"))),
    (
        "gen",
        encoded(document("gen", "order_created", data={"id": "o-1", "status": "PENDING", "items": None})),
    ),
    ("gen", b'{"event": "ORDER.CREATED", "data": ' + b"[" * 200 + b"]" * 200 + b"}"),
    ("aprovei", encoded(document("aprovei", "sale_approved", transaction_token=None))),
]


async def test_bad_input_gets_a_receipt_and_a_reason_and_no_byte_of_it_is_lost(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    async with system(database_url, kafka, tmp_path) as running:
        answers = [await running.post(f"/webhooks/{provider}", sent) for provider, sent in BAD]
        await running.settle()

    owner = await asyncpg.connect(database_url)
    rows = await owner.fetch("select body from delivery_log order by position")
    quarantined = await owner.fetch("select position, reason from quarantine order by position")
    await owner.close()
    assert [status for status, _ in answers] == [200] * len(BAD)
    assert [answer["receipt"] for _, answer in answers] == [f"main-{n + 1}" for n in range(len(BAD))]
    assert [row["body"] for row in rows] == [sent for _, sent in BAD]
    assert [row["position"] for row in quarantined] == list(range(1, len(BAD) + 1))
    assert all(": " in row["reason"] for row in quarantined)


def _assert_is_a_cloud_event_by_its_schema(record: Published) -> None:
    assert record.value is not None
    headers = {name: value.encode() for name, value in record.headers.items()}
    event = from_binary(KafkaMessage(headers=headers, key=record.key, value=record.value), JSONFormat())
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{event.get_type()}.json").read_bytes())

    assert event.get_id() == record.headers["ce_id"]
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == orjson.loads(record.value)
    Draft202012Validator(schema).validate(event.get_data())


def _padded(sent: bytes, length: int) -> bytes:
    padded = orjson.loads(sent) | {"padding": raw('""')}
    bare = len(orjson.dumps(padded))
    return orjson.dumps(padded | {"padding": "x" * (length - bare)})
