"""A row that Kafka refuses for its size is found in its batch, and a small marker goes out in its place."""

import orjson
from jsonschema import Draft202012Validator

from service import schemas
from service.kafka.headers import is_marker
from service.relay.refused import Refused, marker_of, size_of
from service.relay.streams import Outgoing


def row(position: int, topic: str = "orders", value: bytes | None = b"{}") -> Outgoing:
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"shop:order:o-1@0001.0000000003/0"),
        ("ce_source", b"/recibo/main"),
        ("ce_type", b"order.paid"),
        ("ce_time", b"2025-11-03T13:00:00Z"),
        ("ce_partitionkey", b"shop:order:o-1"),
    ]
    return Outgoing(
        position, f"mark {position}", topic, 4, b"shop:order:o-1", value, headers, 1_700_000_000_000
    )


def test_the_rows_of_a_refused_batch_go_alone_and_only_the_one_refused_alone_is_too_large() -> None:
    refused = Refused()

    assert refused.note([7, 8, 9])
    assert [refused.goes_alone(at) for at in (6, 7, 8, 9)] == [False, True, True, True]
    assert refused.note([8])

    assert [refused.is_too_large(at) for at in (7, 8, 9)] == [False, True, False]


def test_a_refused_marker_is_told_from_a_refused_row() -> None:
    refused = Refused()
    refused.note([8])

    assert not refused.note([8])


def test_what_is_published_is_forgotten() -> None:
    refused = Refused()
    refused.note([7, 8])
    refused.note([8])
    refused.note([9])

    refused.forget(up_to=8)
    assert [refused.goes_alone(at) for at in (7, 8, 9)] == [False, False, True]
    refused.forget()
    assert not refused.goes_alone(9)


def test_a_marker_says_where_the_record_is_and_keeps_its_place() -> None:
    large = row(41, value=b"x" * 2_000_000)

    marker = marker_of(large)

    assert marker is not None
    assert (marker.position, marker.mark, marker.topic, marker.partition, marker.key) == (
        large.position,
        large.mark,
        large.topic,
        large.partition,
        large.key,
    )
    assert size_of(marker) < 1_000
    headers = dict(marker.headers)
    assert is_marker(headers)
    assert (headers["ce_id"], headers["ce_partitionkey"]) == (
        b"shop:order:o-1@0001.0000000003/0",
        b"shop:order:o-1",
    )
    said = orjson.loads(marker.value or b"")
    assert (said["position"], said["root"], said["bytes"]) == (41, "shop:order:o-1", size_of(large))
    Draft202012Validator(schemas.schemas()["record.too_large"]).validate(said)


def test_a_compacted_topic_keeps_the_state_that_it_has() -> None:
    assert marker_of(row(41, topic="orders.state", value=b"x" * 2_000_000)) is None
