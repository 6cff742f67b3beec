"""Disputes: runs of contested snapshots, what ended them, what an operator decided."""

import pytest

from projections.facts import Fact
from tests.facts import at, decision, fact, flags, items, only_dispute, order_told, payment, told

CONTESTED = {"alerted": ["alert"], "open": ["disputed"], "charged_back": ["disputed", "charged_back"]}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["alert"], "alerted"),
        (["disputed"], "open"),
        (["charged_back"], "charged_back"),
        (["alert", "disputed"], "open"),
        (["disputed", "alert"], "open"),
        (["disputed", "charged_back"], "charged_back"),
        (["charged_back", "disputed"], "open"),
        (["charged_back", "alert"], "charged_back"),
    ],
)
def test_a_dispute_stands_where_its_last_word_but_alerts_put_it(words: list[str], status: str) -> None:
    facts = [fact("paid", 0), *(fact(word, second) for second, word in enumerate(words, start=1))]

    dispute = only_dispute(*facts)

    assert (dispute.status, dispute.opened_at, dispute.ended_at) == (status, at(1), None)


ENDINGS = [
    ("alerted", "paid", "closed", None),
    ("open", "paid", "won", None),
    ("charged_back", "paid", "won", None),
    ("alerted", "partially_paid", "closed", None),
    ("open", "partially_paid", "won", None),
    ("charged_back", "partially_paid", "won", None),
    ("alerted", "refunded", "closed", "refunded"),
    ("open", "refunded", "closed", "refunded"),
    ("charged_back", "refunded", "charged_back", None),
    ("alerted", "partially_refunded", "closed", "refunded"),
    ("open", "partially_refunded", "closed", "refunded"),
    ("charged_back", "partially_refunded", "charged_back", None),
    ("alerted", "canceled", "closed", "refunded"),
    ("open", "canceled", "closed", "refunded"),
    ("charged_back", "canceled", "charged_back", None),
    ("alerted", "pending", "closed", None),
    ("open", "pending", "closed", None),
    ("charged_back", "pending", "charged_back", None),
]


@pytest.mark.parametrize(("was", "ended_by", "status", "reason"), ENDINGS)
def test_the_first_other_snapshot_ends_a_dispute(
    was: str, ended_by: str, status: str, reason: str | None
) -> None:
    contested = [fact(word, second) for second, word in enumerate(CONTESTED[was], start=1)]

    dispute = only_dispute(fact("paid", 0), *contested, fact(ended_by, 5))

    assert (dispute.status, dispute.reason, dispute.ended_at) == (status, reason, at(5))


def test_a_cancellation_that_moves_no_money_closes_an_alert_without_a_reason() -> None:
    dispute = only_dispute(fact("pending", 0), fact("alert", 1), fact("canceled", 2))

    assert (dispute.status, dispute.reason) == ("closed", None)


def test_a_cancellation_that_comes_after_settlement_closes_an_alert_without_a_reason() -> None:
    facts = [fact("paid", 0), fact("refunded", 1), fact("alert", 2), fact("canceled", 3)]

    assert (only_dispute(*facts).status, only_dispute(*facts).reason) == ("closed", None)
    assert flags(*facts) == [("canceled_after_settlement", 3)]


def test_a_barte_paid_after_a_chargeback_wins_the_dispute() -> None:
    facts = [fact("paid", 1), fact("charged_back", 2), fact("paid", 3)]

    dispute = only_dispute(*facts)

    assert dispute.status == "won"
    assert [entry.status for entry in dispute.history] == ["charged_back", "won"]
    assert order_told(*facts).status == "paid"
    assert flags(*facts) == []


def test_an_aprovei_paid_proves_no_win() -> None:
    dispute = only_dispute(fact("paid", 1), fact("charged_back", 2), fact("paid", 3, win_dated=False))

    assert (dispute.status, dispute.ended_at) == ("charged_back", at(3))


def test_contested_again_is_another_dispute() -> None:
    facts = [fact("paid", 1), fact("charged_back", 2), fact("paid", 3), fact("disputed", 4)]

    disputes = told(*facts).disputes

    assert [(each.ordinal, each.status, each.opened_at) for each in disputes] == [
        (1, "won", at(2)),
        (2, "open", at(4)),
    ]


def test_an_earlier_contest_learned_late_comes_first() -> None:
    known = [fact("paid", 3), fact("disputed", 4)]

    disputes = told(*known, fact("disputed", 1)).disputes

    assert [(each.ordinal, each.status, each.opened_at) for each in disputes] == [
        (1, "won", at(1)),
        (2, "open", at(4)),
    ]


def test_payments_have_disputes_of_their_own_ranked_by_opening() -> None:
    facts = [
        items(0, 200),
        payment("b", "disputed", 1),
        payment("a", "disputed", 2),
        payment("b", "charged_back", 3),
        items(4, 250),
        payment("a", "paid", 5),
    ]

    disputes = told(*facts).disputes

    assert [(each.ordinal, each.subject, each.status) for each in disputes] == [
        (1, "b", "charged_back"),
        (2, "a", "won"),
    ]


def test_disputes_of_two_payments_that_open_at_one_instant_are_ranked_by_subject() -> None:
    facts = [payment("b", "disputed", 1), payment("a", "disputed", 1)]

    assert [each.subject for each in told(*facts).disputes] == ["a", "b"]


CHARGED_BACK = fact("charged_back", 2)


@pytest.mark.parametrize("decided", ["lost", "closed"])
@pytest.mark.parametrize("ending", [[], [fact("refunded", 5)], [fact("paid", 5)], [fact("pending", 5)]])
def test_a_decision_holds_whatever_ends_the_dispute(decided: str, ending: list[Fact]) -> None:
    dispute = only_dispute(fact("paid", 1), CHARGED_BACK, decision(decided, CHARGED_BACK.key, 9), *ending)

    assert (dispute.status, dispute.reason, dispute.decided_at) == (decided, None, at(9))
    assert dispute.history[-1].status == decided


def test_a_decision_answers_by_key_not_by_ordinal() -> None:
    facts = [fact("paid", 1), CHARGED_BACK, fact("paid", 3), fact("disputed", 4)]

    disputes = told(*facts, decision("closed", CHARGED_BACK.key, 9), fact("disputed", 0)).disputes

    assert [each.status for each in disputes] == ["won", "closed", "open"]


def test_a_decision_finds_its_dispute_by_a_fact_that_only_restates_another() -> None:
    again = fact("charged_back", 3)

    assert only_dispute(CHARGED_BACK, again, decision("lost", again.key, 9)).status == "lost"


def test_a_decision_may_come_before_the_fact_that_it_answers() -> None:
    facts = [decision("lost", CHARGED_BACK.key, 9), CHARGED_BACK]

    assert only_dispute(*facts).status == "lost"
    assert ("decision_without_dispute", 9) in flags(facts[0])
    assert ("decision_without_dispute", 9) not in flags(*facts)


def test_a_decision_about_a_fact_that_is_not_contested_is_flagged() -> None:
    paid = fact("paid", 1)

    states = told(paid, CHARGED_BACK, decision("lost", paid.key, 9))

    assert states.disputes[0].status == "charged_back"
    assert flags(paid, CHARGED_BACK, decision("lost", paid.key, 9)) == [("decision_without_dispute", 9)]


def test_of_several_decisions_the_one_decided_last_holds() -> None:
    later, earlier = decision("closed", CHARGED_BACK.key, 9), decision("lost", CHARGED_BACK.key, 8)

    dispute = only_dispute(fact("paid", 1), CHARGED_BACK, later, earlier)

    assert (dispute.status, dispute.decided_at) == ("closed", at(9))
    assert [entry.status for entry in dispute.history] == ["charged_back", "lost", "closed"]


def test_a_decision_does_not_break_a_run() -> None:
    facts = [CHARGED_BACK, decision("lost", CHARGED_BACK.key, 3), fact("charged_back", 4)]

    assert only_dispute(*facts).status == "lost"


def test_paid_after_lost_stays_lost_and_is_flagged() -> None:
    facts = [fact("paid", 1), CHARGED_BACK, decision("lost", CHARGED_BACK.key, 3), fact("paid", 4)]

    dispute = only_dispute(*facts)

    assert dispute.status == "lost"
    assert [entry.status for entry in dispute.history] == ["charged_back", "lost"]
    assert flags(*facts) == [("paid_after_lost", 4)]


def test_paid_after_closed_raises_nothing() -> None:
    facts = [fact("paid", 1), CHARGED_BACK, decision("closed", CHARGED_BACK.key, 3), fact("paid", 4)]

    assert flags(*facts) == []
