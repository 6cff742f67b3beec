"""What is published, read back from Kafka: CloudEvents of their schemas that name nobody."""

import datetime as dt
import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from projections.delivery import PARTITIONS
from service.eventlog.deliveries import NewDelivery
from service.kafka import topics
from tests.bodies import ALL, KEYED, body, document, encoded, rooted
from tests.deliveries import new_delivery
from tests.projectors import fold_up_to, projector_of, receive
from tests.relays import Published, drain, published, relay_of
from tests.servers import Kafka

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
PERSONAL: Final = {
    *("name", "full_name", "holderName", "email", "emailBuyer", "phone", "cellphone", "birth_date"),
    *("document", "documentBuyer", "cpf", "cnpj", "identification_number", "note"),
    *("street", "line1", "district", "neighborhood", "city", "zipCode", "zip_code", "postal_code"),
}
"""Members whose texts say who somebody is, or where."""


async def everything_published(database_url: str, kafka: Kafka) -> list[Published]:
    """All events that the fixtures, and a delivery that nobody can read, lead to."""
    end = await receive(database_url, kafka, [*map(_arrived, ALL), _unreadable()])
    async with projector_of(database_url, kafka, reading=KEYED) as projector:
        await fold_up_to(projector, end)
    await drain(relay_of("events", database_url, kafka))
    return await published(kafka, topics.EVENT_TOPICS)


async def test_each_event_is_valid_by_the_schema_of_its_type_and_read_by_the_official_sdk(
    database_url: str, kafka: Kafka
) -> None:
    records = await everything_published(database_url, kafka)

    for record in records:
        assert record.value is not None
        data = orjson.loads(record.value)
        validator(record.headers["ce_type"]).validate(data)
        headers = {name: value.encode() for name, value in record.headers.items()}
        event = from_binary(KafkaMessage(headers, record.key, record.value), JSONFormat())
        assert event.get_specversion() == "1.0"
        assert event.get_id() == record.headers["ce_id"]
        assert event.get_type() == record.headers["ce_type"]
        assert event.get_source() == "/recibo/main"
        assert event.get_subject() == record.headers["ce_subject"]
        assert event.get_datacontenttype() == "application/json"
        assert event.get_data() == data
        if record.topic != topics.QUARANTINE:
            time = event.get_time()
            assert time is not None and time.utcoffset() == dt.timedelta(0)
            assert event.get_extension("sequence") == data["version"]
    told = {record.headers["ce_type"] for record in records}
    assert told >= {
        "order.paid",
        "order.refunded",
        "order.charged_back",
        "dispute.charged_back",
        "dispute.closed",
        "subscription.past_due",
        "withdrawal.approved",
        "cart.abandoned",
        "delivery.quarantined",
        *(f"{kind}.state" for kind in ("order", "dispute", "subscription", "withdrawal", "cart")),
    }


async def test_ids_are_unique_and_prev_leads_from_record_to_record(database_url: str, kafka: Kafka) -> None:
    records = await everything_published(database_url, kafka)

    assert len({record.headers["ce_id"] for record in records}) == len(records)
    for topic in (*topics.DOMAIN, topics.QUARANTINE):
        for partition in range(PARTITIONS):
            before = 0
            for record in records:
                if (record.topic, record.partition) == (topic, partition):
                    assert record.previous == before
                    before = record.position


async def test_no_event_says_who_somebody_is_or_where(database_url: str, kafka: Kafka) -> None:
    personal = {text for provider, name in ALL for text in _personal(document(provider, name))}
    personal |= set(_personal(orjson.loads(_unreadable().body)))
    digits = {"".join(filter(str.isdigit, text)) for text in personal}
    personal |= {text for text in digits if len(text) > 7}
    assert {"lia ficticia", "vera.ficticia@example.com", "987.654.321-00", "98765432100"} <= personal
    assert {"+5541911111111", "travessa imaginaria", "the issuer's letter came"} <= personal

    records = await everything_published(database_url, kafka)

    payers = 0
    for record in records:
        said = " ".join([record.key, (record.value or b"").decode(), *record.headers.values()]).lower()
        # Not as a part of a longer number: instants hold any digits.
        found = [text for text in personal if re.search(rf"(?<!\d){re.escape(text)}(?!\d)", said)]
        assert found == [], record.headers["ce_type"]
        payers += b'"payer":{' in (record.value or b"")
    assert payers  # the hashes are there, so nothing was left out for want of a key


@functools.cache
def validator(event_type: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / f"{event_type}.json").read_bytes()))


def _arrived(sample: tuple[str, str]) -> NewDelivery:
    provider, name = sample
    kind = {"withdrawal_approved": "withdraw", "cart_abandoned": "default"}.get(name)
    sent = body(provider, name)
    source = "operator" if provider == "operator" else "shop"
    return new_delivery(
        sent,
        source=source,
        account=source,
        provider=provider,
        kind=kind,
        root=rooted(provider, sent, kind),
    )


def _unreadable() -> NewDelivery:
    sent = document("barte", "order_paid", status="SETTLED for Lia Ficticia")
    return new_delivery(encoded(sent), provider="barte", root=rooted("barte", sent))


def _personal(inner: Any) -> Iterator[str]:
    """The personal texts of a delivery in lower case; too short ones could be anywhere."""
    if isinstance(inner, list):
        for each in inner:
            yield from _personal(each)
    elif isinstance(inner, dict):
        for name, value in inner.items():
            if isinstance(value, str) and name in PERSONAL and len(value) > 3:
                yield value.lower()
            yield from _personal(value)
