"""Orders whose snapshots tell their status."""

import pytest

from projections.facts import Payer
from tests.facts import at, decision, fact, flags, order_told, statuses, told


def test_facts_at_one_instant_are_folded_by_the_precedence_of_their_words() -> None:
    sale = [fact("paid", 1), fact("pending", 1), fact("canceled", 1)]

    assert statuses(*sale) == ["pending", "paid", "refunded"]
    assert flags(*sale) == [("canceled_with_money", 1)]


def test_a_bolepix_payment_wins_over_a_cancellation_at_the_same_instant() -> None:
    canceled = fact("canceled", 1, precedence=26)

    assert statuses(canceled, fact("paid", 1)) == ["canceled", "paid"]


def test_of_two_refunds_at_one_instant_the_greater_comes_last() -> None:
    order = order_told(
        fact("partially_refunded", 2, refunded_cents=700),
        fact("partially_refunded", 2, refunded_cents=300),
        fact("paid", 1),
    )

    assert order.refunded_cents == 700


def test_a_late_fact_takes_its_place_in_the_past() -> None:
    known = [fact("paid", 3), fact("refunded", 5)]

    assert statuses(*known, fact("pending", 1)) == ["pending", "paid", "refunded"]
    assert flags(*known, fact("pending", 1)) == []


def test_a_corrected_past_takes_a_flag_back() -> None:
    assert flags(fact("refunded", 5)) == [("payment_notice_lost", 5)]
    assert flags(fact("refunded", 5), fact("paid", 3)) == []


def test_a_later_fact_takes_no_flag_back() -> None:
    lost = [fact("paid", 1), fact("charged_back", 2), fact("refunded", 3)]

    assert flags(*lost) == [("refund_after_chargeback", 3)]
    assert ("refund_after_chargeback", 3) in flags(*lost, fact("paid", 4))


def test_a_refund_after_a_chargeback_is_applied_and_flagged() -> None:
    order = order_told(fact("paid", 1), fact("charged_back", 2), fact("refunded", 3))

    assert order.status == "refunded"
    assert [flag.name for flag in order.flags] == ["refund_after_chargeback"]


def test_a_re_sent_cancellation_with_a_fresh_date_raises_nothing() -> None:
    canceled = fact("canceled", 2, word="CANCELED")
    again = fact("canceled", 3, word=" canceled")

    assert flags(fact("paid", 1), canceled, again) == [("canceled_with_money", 2)]


def test_a_second_cancellation_with_other_content_changes_the_content_alone() -> None:
    canceled = fact("canceled", 2)
    again = fact("canceled", 3, refunded_cents=100)

    order = order_told(fact("paid", 1), canceled, again)

    assert (order.status, order.refunded_cents) == ("refunded", 100)
    assert flags(fact("paid", 1), canceled, again) == [("canceled_with_money", 2)]


def test_a_re_sent_status_with_a_fresh_date_adds_nothing_to_the_history() -> None:
    order = order_told(fact("paid", 1), fact("paid", 2))

    assert [(entry.status, entry.began_at) for entry in order.history] == [("paid", at(1))]


def test_content_is_member_by_member_that_of_the_last_fact_that_carries_it() -> None:
    payer = Payer(document="d" * 32)

    order = order_told(
        fact("pending", 1, amount_cents=900, reference="LJ-1", payer=payer, products=("A", "B")),
        fact("paid", 2, amount_cents=1000, method="pix", currency="USD"),
        fact("refunded", 3, refunded_cents=1000, payer=Payer()),
    )

    assert (order.amount_cents, order.refunded_cents, order.currency) == (1000, 1000, "USD")
    assert (order.reference, order.method, order.payer) == ("LJ-1", "pix", payer)
    assert order.products == ("A", "B")


def test_what_no_fact_tells_is_null_and_the_currency_brl() -> None:
    order = order_told(fact("paid", 1))

    assert order.amount_cents is None
    assert order.refunded_cents is None
    assert order.paid_cents is None
    assert order.payments is None
    assert order.currency == "BRL"


def test_an_order_is_named_by_its_root() -> None:
    order = order_told(fact("paid", 1, root="loja:order:a:b"))

    assert (order.root, order.account, order.order_id) == ("loja:order:a:b", "loja", "a:b")


def test_an_approval_that_carries_a_refund_date_is_flagged_beside_its_transition() -> None:
    approved = fact("paid", 3, flag="possible_win", provider="aprovei")

    assert flags(fact("paid", 1), approved) == [("possible_win", 3)]
    assert flags(fact("paid", 1), fact("refunded", 2), approved) == [
        ("paid_after_refund", 3),
        ("possible_win", 3),
    ]


def test_an_alert_alone_makes_a_pending_order() -> None:
    order = order_told(fact("alert", 1))

    assert order.status == "pending"
    assert [(entry.status, entry.began_at) for entry in order.history] == [("pending", at(1))]


def test_decisions_alone_make_a_pending_order_that_is_flagged() -> None:
    order = order_told(decision("lost", "unknown", 1), decision("closed", "unknown", 1))

    assert (order.status, order.provider, order.provider_status) == ("pending", "operator", "")
    assert [(flag.name, flag.occurred_at) for flag in order.flags] == [("decision_without_dispute", at(1))]
    assert order.facts == 2


def test_the_operator_is_never_an_orders_provider() -> None:
    charged_back = fact("charged_back", 1)

    order = order_told(charged_back, decision("lost", charged_back.key, 2))

    assert (order.provider, order.provider_status) == ("admin", "CHARGED_BACK")


def test_a_word_that_nobody_knows_fails_the_fold() -> None:
    with pytest.raises(KeyError):
        told(fact("unheard_of", 1))
