"""The naive fold of orders: each transition and flag of the table, on cases worked out by hand."""

import dataclasses
import itertools

import pytest

from tests.checker.course import _ORDINARY
from tests.checker.facts import Row
from tests.checker.naive import naive_states
from tests.unit.checker.rows import admin, aprovei, at, barte, bolepix, flags, gen, invoice, order


def test_an_order_goes_from_sent_to_paid() -> None:
    assert order(barte("SENT", 0), barte("PAID", 60)) == {
        "root": "shop:order:b",
        "account": "shop",
        "order_id": "b",
        "provider": "barte",
        "status": "paid",
        "provider_status": "PAID",
        "amount_cents": None,
        "refunded_cents": None,
        "paid_cents": None,
        "currency": "BRL",
        "reference": None,
        "method": None,
        "channel": None,
        "payer_document": None,
        "payer_email": None,
        "payer_phone": None,
        "products": None,
        "payments": None,
        "total_unknown": False,
        "flags": [],
        "history": [{"status": "pending", "began_at": at(0)}, {"status": "paid", "began_at": at(60)}],
        "facts": 2,
    }


def test_no_order_of_arrival_and_no_repetition_changes_the_state() -> None:
    rows = [barte("PAID", 60), barte("CHARGEBACK", 90), barte("PAID", 120), barte("REFUND", 150)]
    wanted = naive_states(rows)

    for permuted in itertools.permutations([*rows, rows[1]]):
        assert naive_states(permuted) == wanted


@pytest.mark.parametrize(
    ("rows", "flag", "status"),
    [
        ([barte("PAID", 1), barte("CANCELED", 2)], "canceled_with_money", "refunded"),
        ([barte("DISPUTE", 1), barte("CANCELED", 2)], "canceled_with_money", "refunded"),
        ([barte("PARTIALLY_PAID", 1), barte("CANCELED", 2)], "canceled_with_money", "refunded"),
        ([admin("REFUNDED", 1), admin("CANCELED", 2)], "canceled_after_settlement", "refunded"),
        ([admin("CHARGEBACK", 1), admin("CANCELED", 2)], "canceled_after_settlement", "charged_back"),
        ([admin("REFUNDED", 1)], "payment_notice_lost", "refunded"),
        ([barte("ABANDONED", 1), barte("PAID", 2)], "late_payment", "paid"),
        ([admin("CANCELED", 1), admin("APPROVED", 2)], "late_payment", "paid"),
        ([barte("CANCELED", 1), barte("LATE", 2)], "reopened", "overdue"),
        ([admin("CHARGEBACK", 1), admin("REFUNDED", 2)], "refund_after_chargeback", "refunded"),
        ([admin("REFUNDED", 1), admin("CHARGEBACK", 2)], "double_loss", "charged_back"),
        ([admin("REFUNDED", 1), admin("APPROVED", 2)], "paid_after_refund", "paid"),
        ([admin("APPROVED", 1), admin("PENDING", 2)], "status_went_back", "pending"),
        ([barte("PRE_AUTHORIZED", 1), barte("LATE", 2)], "status_went_back", "overdue"),
        ([barte("CANCELED", 1), barte("EXPIRED", 2)], "status_went_back", "expired"),
        ([aprovei("approved", approved=1, refunded=2)], "possible_win", "paid"),
    ],
)
def test_an_unusual_transition_is_applied_and_flagged(rows: list[Row], flag: str, status: str) -> None:
    assert flag in flags(*rows)
    assert order(*rows)["status"] == status


def test_only_what_the_table_calls_ordinary_is_not_flagged() -> None:
    words = {
        "pending": "SENT",
        "authorized": "PRE_AUTHORIZED",
        "partially_paid": "PARTIALLY_PAID",
        "paid": "PAID",
        "overdue": "LATE",
        "rejected": "FAILED",
        "expired": "EXPIRED",
        "canceled": "CANCELED",
        "disputed": "DISPUTE",
        "charged_back": "CHARGEBACK",
        "refunded": "REFUND",
    }
    for before, after in itertools.permutations(words, 2):
        # The first step may raise a flag of its own, at an instant of its own.
        found = order(barte(words[before], 1), barte(words[after], 2))["flags"]
        assert isinstance(found, list)
        raised = [flag for flag in found if flag["occurred_at"] == at(2)]
        assert (not raised) == (after in _ORDINARY[before].split()), (before, after)


def test_a_cancel_that_is_sent_again_is_not_a_second_one() -> None:
    assert flags(barte("PAID", 1), barte("CANCELED", 2), barte("CANCELED", 3)) == ["canceled_with_money"]


def test_in_one_instant_a_cancel_follows_a_payment_except_for_bolepix() -> None:
    assert order(barte("CANCELED", 1), barte("PAID", 1))["status"] == "refunded"
    assert order(bolepix("charge-cancelled", 1), bolepix("charge-in", 1))["status"] == "paid"


def test_paid_with_refund_items_is_partially_refunded_by_the_exact_sum() -> None:
    state = order(
        barte("PAID", 1), barte("PAID", 2, refunds=[{"amount": 45.90}, {"amount": 4, "status": "FAILED"}])
    )

    assert (state["status"], state["refunded_cents"], state["flags"]) == ("partially_refunded", 4990, [])


def test_a_refund_without_an_amount_makes_the_sum_unknown() -> None:
    partial, more = [{"amount": 1}], [{"amount": 1}, {"date": "2025-11-10"}]

    assert (
        order(barte("REFUND", 1, refunds=partial), barte("REFUND", 2, refunds=more))["refunded_cents"] is None
    )


def test_content_is_that_of_the_last_fact_that_carries_it() -> None:
    state = order(
        admin("PENDING", 1, external_id="LJ-1", payment_method={"type": "PIX"}, currency="usd"),
        admin("APPROVED", 2, external_id=None, amount=None),
    )

    assert (state["reference"], state["method"], state["amount_cents"]) == ("LJ-1", "pix", 1000)
    assert state["currency"] == "BRL"


def test_dates_keep_their_nine_digits_and_barte_its_zone() -> None:
    history = order(barte("SENT", 0, dateTime="2025-11-03T10:00:00.120034551"))["history"]

    assert history == [{"status": "pending", "began_at": at(0) + 120_034_551}]


def test_an_undated_delivery_takes_the_earliest_time_at_which_it_was_recorded() -> None:
    undated = admin("APPROVED", 0, updated_at=None)
    copies = [dataclasses.replace(undated, recorded_at=at(seconds)) for seconds in (9, 5, 7)]

    state = order(*copies)

    assert state["history"] == [{"status": "paid", "began_at": at(5)}]
    assert state["facts"] == 1


def test_two_contents_under_one_key_are_two_facts() -> None:
    assert order(admin("APPROVED", 1), admin("APPROVED", 1, amount=999))["facts"] == 2


def test_a_terminal_order_has_a_channel_and_a_method() -> None:
    state = order(barte("PAID", 1, domain="PHYSICAL_ORDER", payment_type="CREDIT"))

    assert (state["channel"], state["method"]) == ("pos", "credit")


def test_a_sale_is_refunded_in_full_and_keeps_its_products() -> None:
    products = [{"title": None, "code": "SKU-1", "amount": 1, "quantity": 1}]
    state = order(aprovei("pending", products=products), aprovei("refunded", approved=1, refunded=2))

    assert (state["status"], state["refunded_cents"], state["products"]) == ("refunded", 7000, ["SKU-1"])
    assert flags(aprovei("pending"), aprovei("refunded", approved=1, refunded=2)) == ["payment_notice_lost"]


def test_the_approval_after_a_chargeback_sorts_before_it_and_says_a_win_is_possible() -> None:
    rows = [
        aprovei("approved", approved=1),
        aprovei("chargeback", approved=1, refunded=5),
        aprovei("approved", approved=1, refunded=5),
    ]

    assert order(*rows)["status"] == "charged_back"
    assert order(*rows)["flags"] == [{"name": "possible_win", "occurred_at": at(5)}]


def test_gens_order_is_paid_when_its_payments_cover_the_total() -> None:
    both = [invoice(200), gen("p", "PAID", 1), gen("q", "PAID", 2)]

    assert order(*both[:2])["status"] == "partially_paid"
    assert order(*both)["status"] == "paid"
    assert order(*both)["paid_cents"] == 220
    assert order(*both)["amount_cents"] == 200


def test_gens_order_without_a_total_is_paid_and_marked() -> None:
    state = order(gen("p", "PAID", 1))

    assert (state["status"], state["total_unknown"], state["amount_cents"]) == ("paid", True, None)


def test_a_share_without_a_subtotal_is_worked_out_of_the_total() -> None:
    state = order(invoice(100), gen("p", "PAID", 1, subtotal_cents=None, shipping_cents=10))

    assert (state["status"], state["total_unknown"]) == ("paid", False)


def test_one_of_two_payments_given_back_is_a_partial_refund() -> None:
    rows = [invoice(200), gen("p", "PAID", 1), gen("q", "PAID", 2), gen("q", "REVERSED", 3)]

    assert order(*rows)["status"] == "partially_refunded"
    assert order(*rows, gen("p", "CANCELLED", 4))["status"] == "refunded"
    assert flags(*rows, gen("p", "CANCELLED", 4)) == ["canceled_with_money"]


def test_a_cancelled_payment_beside_a_live_one_cancels_nothing() -> None:
    rows = [gen("p", "CANCELLED", 1), gen("q", "PENDING", 2)]

    assert order(*rows)["status"] == "pending"
    assert order(*rows, gen("q", "EXPIRED", 3))["status"] == "expired"


def test_a_reversed_authorisation_moved_no_money_and_an_unseen_payment_did() -> None:
    assert order(gen("p", "PRE_AUTHORIZED", 1), gen("p", "REVERSED", 2))["status"] == "canceled"
    assert order(gen("p", "REVERSED", 2))["status"] == "refunded"
    assert flags(gen("p", "REVERSED", 2)) == ["payment_notice_lost"]


def test_an_old_state_sent_again_by_hand_takes_its_place_in_the_past() -> None:
    rows = [gen("p", "PENDING", 1), gen("p", "PAID", 2)]

    assert order(*rows, gen("p", "PENDING", 1, note="by hand"))["status"] == "paid"


def test_the_history_of_gens_order_uses_the_total_as_it_is_known_now() -> None:
    history = order(gen("p", "PAID", 1), invoice(200, seconds=9))["history"]

    assert history == [{"status": "partially_paid", "began_at": at(1)}]


def test_payments_are_listed_as_they_appeared() -> None:
    state = order(gen("q", "PAID", 2, external_id="PG-1", pix={}), gen("p", "PENDING", 1, method="BANK_SLIP"))

    assert state["payments"] == [
        {"id": "p", "status": "pending", "total_cents": 110, "reference": None, "method": "bank_slip"},
        {"id": "q", "status": "paid", "total_cents": 110, "reference": "PG-1", "method": "pix"},
    ]
    assert (state["method"], state["reference"]) == ("pix", None)


def test_bolepix_is_an_order_of_its_own_in_reais() -> None:
    state = order(bolepix("charge-create", 0, status="PENDING"), bolepix("charge-in", 5))

    assert (state["status"], state["amount_cents"], state["payments"]) == ("paid", 500, None)
    assert state["provider_status"] == "charge-in"
