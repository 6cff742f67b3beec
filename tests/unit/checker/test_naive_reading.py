"""Which deliveries the naive reading can and cannot understand."""

from collections.abc import Mapping

import orjson
import pytest

from tests.checker.facts import Row
from tests.checker.naive import naive_states, unreadable
from tests.unit.checker.rows import admin, aprovei, barte, bolepix, gen, invoice, row

DEEP = b'{"uuid":"b","domain":"ORDER","status":"PAID","cards":' + b"[" * 300 + b"]" * 300 + b"}"


@pytest.mark.parametrize(
    "bad",
    [
        row("barte", b"\xff", "shop:order:b"),
        row("barte", b"[]", "shop:order:b"),
        row("barte", DEEP, "shop:order:b"),
        barte("PAID", 1, uuid=None),
        barte("PAID", 1, uuid=7),
        barte("PAID", 1, uuid="b\0"),
        barte("PAID", 1, domain="DISPUTE"),
        barte("DISPUTE_WON", 1),
        barte("PAID", 1, dateTime="yesterday"),
        barte("PAID", 1, dateTime="2300-01-01T00:00:00"),
        barte("PAID", 1, dateTime="2025-02-30T00:00:00"),
        barte("REFUND", 1, refunds=None),
        barte("REFUND", 1, refunds=[{"amount": "1.00"}]),
        barte("REFUND", 1, refunds=[{"amount": 1.001}]),
        barte("REFUND", 1, refunds=[{"amount": 1e30}]),
        admin("APPROVED", 1, amount=10.0),
        admin("APPROVED", 1, amount="10"),
        admin("APPROVED", 1, amount=2**63),
        admin("APPROVED", 1, type="LOAN"),
        admin("SETTLED", 1, type="WITHDRAW"),
        gen("p", "CHARGEBACK_REVERSED", 1),
        gen("p", "CANCELED", 1),
        gen("p", "PAID", 1, order_id=None),
        invoice(100, items=None),
        bolepix("charge-in", 1, amount=5.005),
        bolepix("charge-create", 1, status="PAID"),
        aprovei("partially_refunded"),
        aprovei("approved", date_approved="2025-11-03"),
        aprovei("approved", products=None),
        row("aprovei", {"transaction_token": "v"}, "shop:order:v"),
    ],
)
def test_what_cannot_be_understood_is_unreadable(bad: Row) -> None:
    assert unreadable([bad]) == {bad.position}
    assert naive_states([bad]) == {}


def test_a_delivery_about_another_root_than_its_rows_is_unreadable() -> None:
    body = orjson.loads(barte("PAID", 1).body)
    rows = [row("barte", body, "shop:order:other"), row("barte", body, None)]

    assert unreadable(rows) == {told.position for told in rows}


def test_a_root_that_is_too_long_or_unprintable_is_unreadable() -> None:
    for identifier in ("x" * 200, "a\nb"):
        told = row(
            "barte", {"uuid": identifier, "domain": "ORDER", "status": "PAID"}, f"shop:order:{identifier}"
        )
        assert unreadable([told]) == {told.position}


@pytest.mark.parametrize(
    ("envelope", "root"),
    [
        ({"event": "PAYMENT.PAID", "data": {"id": "p", "order_id": "g", "status": "PAID"}}, "g"),
        ({"type": "PAYMENT.PAID", "payment": {"id": "p", "order_id": "g", "status": "PAID"}}, "g"),
        ({"data": {"payment": {"id": "p", "order_id": "g", "status": "PAID"}}}, "g"),
        ({"id": "p", "order_id": "g", "status": "PAID"}, "g"),
        ({"name": "ORDER.CREATED", "order": {"id": "g"}}, "g"),
        ({"id": "g", "items": []}, "g"),
        ({"event_type": "charge-in", "data": {"invoiceId": "i"}}, "i"),
    ],
)
def test_gens_envelope_is_taken_apart_tolerantly(envelope: Mapping[str, object], root: str) -> None:
    assert list(naive_states([row("gen", envelope, f"shop:order:{root}")])) == [f"shop:order:{root}"]


def test_words_are_matched_trimmed_and_upper_cased_and_kept_as_sent() -> None:
    (found,) = naive_states([admin(" approved ", 1)]).values()

    assert (found["order_state"][0]["status"], found["order_state"][0]["provider_status"]) == (
        "paid",
        " approved ",
    )
