"""Barte: each documented delivery, each row of the mapping table, reais and local time."""

import contextlib
from typing import Any

import pytest

from projections.facts import Fact, Reading, Unreadable
from tests.bodies import (
    PRECEDENCE,
    body,
    digest,
    document,
    encoded,
    ns,
    plain,
    raw,
    refused,
    rooted,
    said,
    standing,
)
from tests.facts import flags, told

ORDER = "3c9d1f40-0000-4000-8000-00000000a001"
CONTESTED = "3c9d1f40-0000-4000-8000-00000000a009"
SUBSCRIPTION = "5f02ab17-0000-4000-8000-00000000a101"
TERMINAL = "77aa10e2-0000-4000-8000-00000000a201"


def expected(name: str, key: str, kind: str = "order", **members: Any) -> Fact:
    domain, uuid, word, text = key.split("|")
    defaults: dict[str, Any] = {
        "identity": f"{domain}|{uuid}|{word}|{text}|{digest(body('barte', name))}",
        "root": f"shop:{kind}:{uuid}",
        "kind": kind,
        "subject": uuid,
        "word": word,
        "occurred_text": text,
        "provider": "barte",
        "currency": "BRL",
    }
    return Fact(**(defaults | members))


FACTS = {
    "order_sent": expected(
        "order_sent",
        f"ORDER|{ORDER}|SENT|2025-10-07T09:31:44.250016003",
        status="pending",
        precedence=0,
        occurred_at=ns("2025-10-07T12:31:44.250016003Z"),
        reference="WEB-7001",
    ),
    "order_paid": expected(
        "order_paid",
        f"ORDER|{ORDER}|PAID|2025-10-07T09:33:02.100200301",
        status="paid",
        precedence=40,
        occurred_at=ns("2025-10-07T12:33:02.100200301Z"),
        reference="WEB-7001",
    ),
    "order_refund": expected(
        "order_refund",
        f"ORDER|{ORDER}|REFUND|2025-10-15T23:59:59.07",
        status="refunded",
        precedence=70,
        occurred_at=ns("2025-10-16T02:59:59.07Z"),
        refunded_cents=12997,
    ),
    "subscription_defaulter": expected(
        "subscription_defaulter",
        f"SUBSCRIPTION|{SUBSCRIPTION}|DEFAULTER|2025-10-20T00:00:00.000000001",
        kind="subscription",
        status="past_due",
        precedence=45,
        occurred_at=ns("2025-10-20T03:00:00.000000001Z"),
    ),
    "physical_order_paid": expected(
        "physical_order_paid",
        f"PHYSICAL_ORDER|{TERMINAL}|PAID|2025-10-07T19:05:11.4",
        status="paid",
        precedence=40,
        occurred_at=ns("2025-10-07T22:05:11.4Z"),
        channel="pos",
        method="debit",
    ),
    "order_dispute": expected(
        "order_dispute",
        f"ORDER|{CONTESTED}|DISPUTE|2025-11-20T07:08:09.5",
        status="disputed",
        precedence=60,
        occurred_at=ns("2025-11-20T10:08:09.5Z"),
    ),
    "order_chargeback": expected(
        "order_chargeback",
        f"ORDER|{CONTESTED}|CHARGEBACK|2025-11-28T16:17:18",
        status="charged_back",
        precedence=80,
        occurred_at=ns("2025-11-28T19:17:18Z"),
    ),
}

STATES: dict[str, tuple[str, list[str]]] = {
    "order_sent": ("pending", []),
    "order_paid": ("paid", []),
    "order_refund": ("refunded", []),
    "subscription_defaulter": ("past_due", []),
    "physical_order_paid": ("paid", []),
    "order_dispute": ("disputed", ["open"]),
    "order_chargeback": ("charged_back", ["charged_back"]),
}

ORDER_ROWS = [
    ("SENT", "pending", "pending", []),
    ("PRE_AUTHORIZED", "authorized", "authorized", []),
    ("PARTIALLY_PAID", "partially_paid", "partially_paid", []),
    ("PAID", "paid", "paid", []),
    ("LATE", "overdue", "overdue", []),
    ("ABANDONED", "expired", "expired", []),
    ("EXPIRED", "expired", "expired", []),
    ("CANCELED", "canceled", "canceled", []),
    ("REFUND", "refunded", "refunded", []),
    ("CHARGEBACK", "charged_back", "charged_back", ["charged_back"]),
    ("DISPUTE", "disputed", "disputed", ["open"]),
    ("DISPUTE_ALERT", "alert", "pending", ["alerted"]),
    ("SCHEDULED", "pending", "pending", []),
    ("FAILED", "rejected", "rejected", []),
    ("PAID_MANUALLY", "paid", "paid", []),
]

SUBSCRIPTION_ROWS = [
    ("PENDING", "pending", 0),
    ("ACTIVE", "active", 40),
    ("DEFAULTER", "past_due", 45),
    ("INACTIVE", "inactive", 70),
    ("CANCELED", "inactive", 70),
    ("SUSPENDED", "inactive", 70),
]


def order(status: str, date: str = "2025-10-07T09:33:02", **members: Any) -> dict[str, Any]:
    return document("barte", "order_paid", status=status, dateTime=date, **members)


def refunds(*literals: str | None) -> list[dict[str, Any]]:
    return [
        {"date": "2025-10-15", "status": "REFUND"} | ({} if one is None else {"amount": raw(one)})
        for one in literals
    ]


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_is_its_fact(name: str) -> None:
    assert plain(said("barte", body("barte", name))) == FACTS[name]


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_has_its_root_and_its_state(name: str) -> None:
    assert rooted("barte", body("barte", name)) == FACTS[name].root
    assert standing(said("barte", body("barte", name))) == STATES[name]


@pytest.mark.parametrize("domain", ["ORDER", "PHYSICAL_ORDER"])
@pytest.mark.parametrize(("word", "canonical", "status", "disputes"), ORDER_ROWS)
def test_an_order_row_of_the_mapping_table_holds(
    domain: str, word: str, canonical: str, status: str, disputes: list[str]
) -> None:
    fact = said("barte", order(word, domain=domain))

    assert (fact.kind, fact.status, fact.word) == ("order", canonical, word)
    assert fact.precedence == PRECEDENCE[canonical]
    assert fact.channel == ("pos" if domain == "PHYSICAL_ORDER" else None)
    assert standing(fact) == (status, disputes)


@pytest.mark.parametrize(("word", "status", "precedence"), SUBSCRIPTION_ROWS)
def test_a_subscription_row_of_the_mapping_table_holds(word: str, status: str, precedence: int) -> None:
    fact = said("barte", document("barte", "subscription_defaulter", status=word))

    assert (fact.kind, fact.status, fact.word, fact.precedence) == ("subscription", status, word, precedence)
    assert standing(fact) == (status, [])


@pytest.mark.parametrize("domain", ["DISPUTE", "ORDER_DISPUTE", "CHARGEBACK", "CHARGEBACK_ORDER"])
def test_a_dispute_domain_is_kept_and_listed_first(domain: str) -> None:
    assert refused("barte", order("PAID", domain=domain)).startswith("dispute: ")


@pytest.mark.parametrize("word", ["DISPUTE_WON", "DISPUTE_LOST", "CHARGEBACK_REVERSED", " chargeback_won "])
def test_an_unknown_word_on_a_contest_is_kept_and_listed_first(word: str) -> None:
    assert refused("barte", order(word)).startswith("dispute: ")


@pytest.mark.parametrize("word", ["REFUNDED", "CANCELLED", "ACTIVE", "SETTLED", ""])
def test_another_spelling_is_not_guessed(word: str) -> None:
    assert refused("barte", order(word)).startswith("status: ")


@pytest.mark.parametrize("word", ["paid", " PAID", "Paid \n", "\tpAiD"])
def test_words_match_trimmed_and_in_upper_case_and_are_kept_as_sent(word: str) -> None:
    fact = said("barte", order(word))

    assert (fact.status, fact.word) == ("paid", word)
    assert fact.key == f"ORDER|{ORDER}|{word}|2025-10-07T09:33:02"


@pytest.mark.parametrize("digits", range(10))
def test_local_time_is_exact_with_any_number_of_fraction_digits(digits: int) -> None:
    text = "2025-10-07T09:31:44" + (f".{'123456789'[:digits]}" if digits else "")

    fact = said("barte", order("PAID", text))

    assert fact.occurred_at == ns("2025-10-07T12:31:44." + "123456789"[:digits])
    assert fact.occurred_text == text


@pytest.mark.parametrize(
    ("zone", "text", "instant"),
    [
        ("America/Sao_Paulo", "2025-10-07T09:00:00", "2025-10-07T12:00:00Z"),
        ("America/Sao_Paulo", "2018-12-01T09:00:00", "2018-12-01T11:00:00Z"),  # there was summer time
        ("America/Manaus", "2025-10-07T09:00:00", "2025-10-07T13:00:00Z"),
        ("UTC", "2025-10-07T09:00:00.000000009", "2025-10-07T09:00:00.000000009Z"),
        ("Asia/Kolkata", "2025-10-07T01:00:00", "2025-10-06T19:30:00Z"),
    ],
)
def test_the_zone_of_local_time_is_a_setting(zone: str, text: str, instant: str) -> None:
    fact = said("barte", order("PAID", text), reading=Reading(barte_zone=zone))

    assert fact.occurred_at == ns(instant)
    assert fact.identity == said("barte", order("PAID", text)).identity


@pytest.mark.parametrize("date", [{"dateTime": None}, None])
def test_without_a_date_the_log_dates_the_delivery_and_the_key_has_nothing_there(
    date: dict[str, Any] | None,
) -> None:
    undated = order("PAID") | (date or {})
    if date is None:
        del undated["dateTime"]

    fact = said("barte", undated, position=77)

    assert (fact.occurred_at, fact.occurred_text, fact.dated) == (_recorded_at(77), None, False)
    assert fact.identity == f"ORDER|{ORDER}|PAID||{digest(undated)}"
    assert said("barte", undated, position=78).identity == fact.identity


@pytest.mark.parametrize(
    ("literals", "cents"),
    [
        ([], None),  # Nothing was sent that could be summed: null, not zero.
        (["45.90"], 4590),
        (["45.9"], 4590),
        (["45"], 4500),
        (["0.07"], 7),
        (["0.00"], 0),
        (["0.1", "0.2"], 30),
        (["1.10", "2.20", "3.30"], 660),
        (["4.590e1"], 4590),
        (["1234567890123.45"], 123_456_789_012_345),
    ],
)
def test_reais_are_read_exactly_and_summed(literals: list[str], cents: int | None) -> None:
    assert said("barte", order("REFUND", refunds=refunds(*literals))).refunded_cents == cents


@pytest.mark.parametrize(
    ("literal", "cents"),
    [("90071992547409.93", 9_007_199_254_740_993), ("92233720368547758.07", 2**63 - 1)],
)
def test_an_amount_that_no_binary_float_holds_is_read_exactly_or_refused(literal: str, cents: int) -> None:
    sent = order("REFUND", refunds=refunds(literal))

    read: int | None = cents
    with contextlib.suppress(Unreadable):
        read = said("barte", sent).refunded_cents

    assert read == cents


@pytest.mark.parametrize("literal", ["45.900000000000000001", "0.0000000000000000001", "1e-400"])
def test_a_fraction_of_a_cent_is_refused_however_small(literal: str) -> None:
    assert refused("barte", order("REFUND", refunds=refunds(literal))).startswith("refunds[0].amount: ")


def test_refund_items_count_whatever_their_word() -> None:
    items = [
        {"date": "2025-10-15", "amount": raw("10.00"), "status": "PENDING"},
        {"date": "2025-10-16", "amount": raw("5.50"), "status": None},
        {"amount": raw("0.50")},
    ]

    assert said("barte", order("REFUND", refunds=items)).refunded_cents == 1600


@pytest.mark.parametrize("missing", [refunds("1.00", None), [*refunds("1.00"), {"amount": None}]])
def test_a_refund_item_without_an_amount_makes_the_sum_unknown(missing: list[dict[str, Any]]) -> None:
    assert said("barte", order("REFUND", refunds=missing)).refunded_cents is None


@pytest.mark.parametrize(
    "literal",
    ["45.905", '"45.90"', "true", "false", "1e400", "-1e400", "1e-3", "NaN", "Infinity", "[]", "{}"],
)
def test_what_is_not_an_amount_in_reais_is_not_guessed(literal: str) -> None:
    broken = encoded(order("REFUND", refunds=refunds("1.00", "7777.77"))).replace(
        b"7777.77", literal.encode()
    )

    reason = refused("barte", broken)

    # Some are no JSON, and some no number that a JSON parser takes.
    no_number = literal in {"NaN", "Infinity", "1e400", "-1e400"}
    assert reason.startswith("refunds[1].amount: ") or (no_number and reason == "body: not JSON")


@pytest.mark.parametrize("literals", [["92233720368547758.08"], ["60000000000000000.00"] * 2, ["1e30"]])
def test_reais_beyond_what_the_log_can_hold_are_refused(literals: list[str]) -> None:
    assert refused("barte", order("REFUND", refunds=refunds(*literals))).startswith("refunds")


def test_paid_with_refund_items_is_partially_refunded() -> None:
    fact = said("barte", order("PAID", refunds=refunds("10.00")))

    assert (fact.status, fact.precedence, fact.refunded_cents) == ("partially_refunded", 50, 1000)
    assert standing(said("barte", order("PAID")), fact) == ("partially_refunded", [])


@pytest.mark.parametrize("word", ["CHARGEBACK", "DISPUTE", "REFUND"])
def test_refund_items_do_not_change_another_word(word: str) -> None:
    fact = said("barte", order(word, refunds=refunds("10.00")))

    assert fact.status == {"CHARGEBACK": "charged_back", "DISPUTE": "disputed", "REFUND": "refunded"}[word]
    assert fact.refunded_cents == 1000


def test_a_second_partial_refund_at_the_same_instant_is_another_fact_and_comes_after() -> None:
    first = said("barte", order("REFUND", refunds=refunds("10.00")))
    second = said("barte", order("REFUND", refunds=refunds("10.00", "2.50")))

    assert first.key == second.key
    assert first.identity != second.identity
    for facts in ([first, second], [second, first]):
        order_state = told(*facts).order
        assert order_state is not None
        assert (order_state.refunded_cents, order_state.facts) == (1250, 2)


def test_a_resend_with_other_spacing_and_other_order_of_members_is_the_same_fact() -> None:
    sent = order("PAID")
    shuffled = dict(reversed(sent.items()))

    assert said("barte", shuffled) == said("barte", sent)


@pytest.mark.parametrize("metadata", [None, [], [{"key": "plan", "value": "yearly-gold"}]])
def test_metadata_that_names_no_order_is_no_reference(metadata: object) -> None:
    assert said("barte", order("PAID", metadata=metadata)).reference is None


@pytest.mark.parametrize("member", ["emailBuyer", "documentBuyer"])
def test_what_names_the_buyer_is_no_reference_whatever_its_key(member: str) -> None:
    sent = order("PAID")
    sent["metadata"] = [{"key": "order_of", "value": sent[member]}, {"key": "order_ref", "value": "WEB-7001"}]

    assert said("barte", sent).reference != sent[member]


def test_a_terminals_members_are_found_inside_the_card_too() -> None:
    inside = document("barte", "physical_order_paid")
    inside["cards"] = [{"payment_type": inside.pop("payment_type")}]

    assert said("barte", inside).method == "debit"


def test_an_account_has_its_own_roots() -> None:
    assert said("barte", order("PAID"), account="other").root == f"other:order:{ORDER}"


def test_paid_after_chargeback_is_a_dispute_won() -> None:
    facts = [
        said("barte", order("PAID", "2025-10-01T10:00:00")),
        said("barte", order("CHARGEBACK", "2025-10-20T10:00:00")),
        said("barte", order("PAID", "2025-11-20T10:00:00")),
    ]

    assert standing(*facts) == ("paid", ["won"])
    assert flags(*facts) == []


def test_refund_after_chargeback_is_flagged_for_money_may_leave_twice() -> None:
    facts = [
        said("barte", order("PAID", "2025-10-01T10:00:00")),
        said("barte", order("CHARGEBACK", "2025-10-20T10:00:00")),
        said("barte", order("REFUND", "2025-10-21T10:00:00", refunds=refunds("45.90"))),
    ]

    assert standing(*facts) == ("refunded", ["charged_back"])
    assert [name for name, _ in flags(*facts)] == ["refund_after_chargeback"]


def test_a_late_chargeback_notice_takes_its_place_before_the_win_that_came_first() -> None:
    paid = said("barte", order("PAID", "2025-10-01T10:00:00"))
    lost = said("barte", order("CHARGEBACK", "2025-10-20T10:00:00"))
    won = said("barte", order("PAID", "2025-11-20T10:00:00"))

    assert told(paid, won, lost) == told(paid, lost, won)


def _recorded_at(position: int) -> int:
    return ns("2025-11-03T13:00:00Z") + position * 1_000_000_000
