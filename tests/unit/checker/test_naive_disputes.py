"""The naive fold of disputes: runs of contested snapshots, what ends them, what an operator says."""

import pytest

from tests.checker.facts import Row
from tests.unit.checker.rows import (
    admin,
    aprovei,
    at,
    barte,
    decision,
    disputes,
    flags,
    gen,
    order,
    utc,
)

ROOT = "shop:order:a"
CONTESTED = f"PAYMENT|a|CHARGEBACK|{utc(2)}"


def test_a_dispute_opens_charges_back_and_is_won() -> None:
    rows = [barte("PAID", 1), barte("DISPUTE", 2), barte("CHARGEBACK", 3), barte("PAID", 4)]

    assert disputes(*rows) == [
        {
            "root": "shop:order:b",
            "ordinal": 1,
            "account": "shop",
            "subject": "b",
            "provider": "barte",
            "status": "won",
            "reason": None,
            "opened_at": at(2),
            "ended_at": at(4),
            "decided_at": None,
            "history": [
                {"status": "open", "began_at": at(2)},
                {"status": "charged_back", "began_at": at(3)},
                {"status": "won", "began_at": at(4)},
            ],
            "facts": 4,
        }
    ]
    assert order(*rows)["flags"] == []


@pytest.mark.parametrize(
    ("rows", "status", "reason"),
    [
        ([barte("DISPUTE_ALERT", 1)], "alerted", None),
        ([barte("DISPUTE_ALERT", 1), barte("PAID", 2)], "closed", None),
        ([barte("DISPUTE_ALERT", 1), barte("DISPUTE", 2), barte("DISPUTE_ALERT", 3)], "open", None),
        ([barte("DISPUTE", 1), barte("REFUND", 2)], "closed", "refunded"),
        ([barte("DISPUTE", 1), barte("CANCELED", 2)], "closed", "refunded"),
        ([barte("DISPUTE_ALERT", 1), barte("CANCELED", 2)], "closed", None),
        ([barte("CHARGEBACK", 1), barte("REFUND", 2)], "charged_back", None),
        ([barte("CHARGEBACK", 1), barte("LATE", 2)], "charged_back", None),
        ([barte("DISPUTE", 1), barte("LATE", 2)], "closed", None),
        ([barte("DISPUTE", 1), barte("PARTIALLY_PAID", 2)], "won", None),
        (
            [aprovei("chargeback", refunded=1), aprovei("approved", refunded=2)],
            "charged_back",
            None,
        ),
    ],
)
def test_what_ends_a_dispute_says_what_it_becomes(rows: list[Row], status: str, reason: str | None) -> None:
    (dispute,) = disputes(*rows)

    assert (dispute["status"], dispute["reason"]) == (status, reason)


def test_an_alert_leaves_the_order_as_it_is() -> None:
    assert order(barte("DISPUTE_ALERT", 1))["status"] == "pending"
    assert order(barte("PAID", 1), barte("DISPUTE_ALERT", 2))["status"] == "paid"


def test_an_earlier_contest_learned_late_shifts_the_ordinals() -> None:
    rows = [admin("CHARGEBACK", 10), admin("APPROVED", 11)]

    assert [dispute["opened_at"] for dispute in disputes(*rows)] == [at(10)]
    earlier = [admin("IN_DISPUTE", 1), admin("APPROVED", 2)]
    assert [dispute["opened_at"] for dispute in disputes(*rows, *earlier)] == [at(1), at(10)]


def test_gens_dispute_is_won_by_its_own_payment_alone() -> None:
    rows = [gen("p", "PAID", 1), gen("p", "DISPUTE", 2), gen("q", "PAID", 3)]

    assert [(dispute["subject"], dispute["status"]) for dispute in disputes(*rows)] == [("p", "open")]
    assert order(*rows)["status"] == "disputed"
    assert disputes(*rows, gen("p", "PAID", 4))[0]["status"] == "won"


def test_an_operators_decision_holds_whatever_ends_the_dispute() -> None:
    rows = [admin("CHARGEBACK", 2), decision("lost", 5, root=ROOT, answers=CONTESTED)]

    (dispute,) = disputes(*rows)
    assert (dispute["status"], dispute["decided_at"], dispute["ended_at"]) == ("lost", at(5), None)
    (dispute,) = disputes(*rows, admin("APPROVED", 9))
    assert (dispute["status"], dispute["ended_at"]) == ("lost", at(9))
    assert flags(*rows, admin("APPROVED", 9)) == ["payment_notice_lost", "paid_after_lost"]


def test_of_several_decisions_the_one_decided_last_holds() -> None:
    lost, closed = (
        decision(word, seconds, root=ROOT, answers=CONTESTED)
        for word, seconds in (("lost", 5), ("closed", 6))
    )

    for rows in ([lost, closed], [closed, lost]):
        (dispute,) = disputes(admin("CHARGEBACK", 2), *rows)
        assert (dispute["status"], dispute["decided_at"]) == ("closed", at(6))


def test_a_decision_that_names_nothing_contested_is_flagged_until_the_contest_is_known() -> None:
    early = decision("lost", 5, root=ROOT, answers=CONTESTED)

    assert flags(admin("APPROVED", 1), early) == ["decision_without_dispute"]
    assert flags(admin("APPROVED", 1), early, admin("CHARGEBACK", 2)) == []


def test_a_decision_alone_makes_a_pending_order() -> None:
    state = order(decision("closed", 5, root=ROOT, answers=CONTESTED))

    assert (state["provider"], state["status"], state["account"]) == ("operator", "pending", "shop")


def test_two_contents_under_one_key_are_both_answered() -> None:
    rows = [admin("CHARGEBACK", 2), admin("CHARGEBACK", 2, amount=5)]

    (dispute,) = disputes(*rows, decision("lost", 5, root=ROOT, answers=CONTESTED))

    assert dispute["status"] == "lost"
