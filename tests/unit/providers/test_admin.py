"""Admin: each documented delivery, each row of the mapping table, loose types and the URL's marker."""

from typing import Any

import pytest

from projections.facts import Fact
from tests.bodies import PRECEDENCE, body, digest, document, ns, plain, raw, refused, rooted, said, standing
from tests.facts import at, flags, told


def expected(name: str, key: str, **members: Any) -> Fact:
    kind, subject, word, text = key.split("|")
    aggregate = "order" if kind == "PAYMENT" else "withdrawal"
    defaults: dict[str, Any] = {
        "identity": f"{key}|{digest(body('admin', name))}",
        "root": f"shop:{aggregate}:{subject}",
        "kind": aggregate,
        "subject": subject,
        "word": word,
        "occurred_at": ns(text),
        "occurred_text": text,
        "provider": "admin",
        "currency": "BRL",
    }
    return Fact(**(defaults | members))


def pix(cents: int, reference: str) -> dict[str, Any]:
    return {"amount_cents": cents, "reference": reference, "method": "pix"}


FACTS = {
    "payment_approved": expected(
        "payment_approved",
        "PAYMENT|pay_made_up_71|APPROVED|2025-10-07T12:04:05Z",
        status="paid",
        precedence=40,
        **pix(25890, "WEB-8001"),
    ),
    "payment_pending": expected(
        "payment_pending",
        "PAYMENT|pay_made_up_71|PENDING|2025-10-07T12:00:00Z",
        status="pending",
        precedence=0,
        **pix(25890, "WEB-8001"),
    ),
    "payment_in_dispute": expected(
        "payment_in_dispute",
        "PAYMENT|pay_made_up_72|IN_DISPUTE|2025-10-09T10:11:12Z",
        status="disputed",
        precedence=60,
        **pix(4400, "WEB-8002"),
    ),
    "payment_chargeback": expected(
        "payment_chargeback",
        "PAYMENT|pay_made_up_72|CHARGEBACK|2025-10-19T20:21:22Z",
        status="charged_back",
        precedence=80,
        **pix(4400, "WEB-8002"),
    ),
    "payment_refunded": expected(
        "payment_refunded",
        "PAYMENT|pay_made_up_71|REFUNDED|2025-10-11T15:00:00Z",
        status="refunded",
        precedence=70,
        **pix(25890, "WEB-8001"),
    ),
    "payment_rejected": expected(
        "payment_rejected",
        "PAYMENT|pay_made_up_73|REJECTED|2025-10-07T12:00:07Z",
        status="rejected",
        precedence=25,
        **pix(25890, "WEB-8001"),
    ),
    "payment_canceled": expected(
        "payment_canceled",
        "PAYMENT|pay_made_up_74|CANCELED|2025-10-08T12:00:00Z",
        status="canceled",
        precedence=45,
        **pix(25890, "WEB-8001"),
    ),
    "withdrawal_approved": expected(
        "withdrawal_approved",
        "WITHDRAW|wd_made_up_71|APPROVED|2025-10-10T13:30:00Z",
        status="approved",
        precedence=40,
        amount_cents=310000,
    ),
}

STATES: dict[str, tuple[str, list[str]]] = {
    "payment_approved": ("paid", []),
    "payment_pending": ("pending", []),
    "payment_in_dispute": ("disputed", ["open"]),
    "payment_chargeback": ("charged_back", ["charged_back"]),
    "payment_refunded": ("refunded", []),
    "payment_rejected": ("rejected", []),
    "payment_canceled": ("canceled", []),
    "withdrawal_approved": ("approved", []),
}

# What `on_transaction_updated` brings is whatever the status says: the same rows.
PAYMENT_ROWS = [
    ("PENDING", "pending", "pending", []),
    ("APPROVED", "paid", "paid", []),
    ("REJECTED", "rejected", "rejected", []),
    ("CANCELED", "canceled", "canceled", []),
    ("IN_DISPUTE", "disputed", "disputed", ["open"]),
    ("CHARGEBACK", "charged_back", "charged_back", ["charged_back"]),
    ("REFUNDED", "refunded", "refunded", []),
]
WITHDRAWAL_ROWS = [("PENDING", "pending", 0), ("APPROVED", "approved", 40), ("REJECTED", "rejected", 45)]


def payment(status: str, date: str = "2025-10-07T12:04:05Z", **members: Any) -> dict[str, Any]:
    return document("admin", "payment_approved", status=status, updated_at=date, **members)


def withdrawal(status: str, date: str = "2025-10-10T13:30:00Z", **members: Any) -> dict[str, Any]:
    return document("admin", "withdrawal_approved", status=status, updated_at=date, **members)


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_is_its_fact(name: str) -> None:
    assert plain(said("admin", body("admin", name))) == FACTS[name]


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_has_its_root_and_its_state(name: str) -> None:
    assert rooted("admin", body("admin", name)) == FACTS[name].root
    assert standing(said("admin", body("admin", name))) == STATES[name]


@pytest.mark.parametrize(("word", "canonical", "status", "disputes"), PAYMENT_ROWS)
def test_a_payment_row_of_the_mapping_table_holds(
    word: str, canonical: str, status: str, disputes: list[str]
) -> None:
    fact = said("admin", payment(word))

    assert (fact.kind, fact.status, fact.word) == ("order", canonical, word)
    assert fact.precedence == PRECEDENCE[canonical]
    assert fact.refunded_cents is None
    assert standing(fact) == (status, disputes)


@pytest.mark.parametrize(("word", "status", "precedence"), WITHDRAWAL_ROWS)
def test_a_withdrawal_row_of_the_mapping_table_holds(word: str, status: str, precedence: int) -> None:
    fact = said("admin", withdrawal(word), kind="withdraw")

    assert (fact.kind, fact.status, fact.word, fact.precedence) == ("withdrawal", status, word, precedence)
    assert standing(fact) == (status, [])


@pytest.mark.parametrize("word", ["CANCELLED", "REFUND", "PAID", "ON_HOLD", ""])
def test_another_spelling_is_not_guessed(word: str) -> None:
    assert refused("admin", payment(word)).startswith("status: ")


@pytest.mark.parametrize("word", ["IN_DISPUTE", "PAID", "CANCELED", "SETTLED"])
def test_a_withdrawals_unknown_status_is_kept_unmapped(word: str) -> None:
    reason = refused("admin", withdrawal(word), kind="withdraw")

    assert reason.startswith("dispute: " if "DISPUTE" in word else "status: ")


@pytest.mark.parametrize("word", ["DISPUTE_WON", "CHARGEBACK_REVERSED", "in_dispute_again"])
def test_an_unknown_word_on_a_contest_is_kept_and_listed_first(word: str) -> None:
    assert refused("admin", payment(word)).startswith("dispute: ")


@pytest.mark.parametrize("word", ["approved", " APPROVED", "Approved\n"])
def test_words_match_trimmed_and_in_upper_case_and_are_kept_as_sent(word: str) -> None:
    fact = said("admin", payment(word))

    assert (fact.status, fact.word) == ("paid", word)
    assert fact.key == f"PAYMENT|pay_made_up_71|{word}|2025-10-07T12:04:05Z"


@pytest.mark.parametrize(
    "type_",
    ["WITHDRAW", "WITHDRAWAL", "withdraw", "PIX_CASHOUT", "SAQUE", "Payout", "BANK_TRANSFER", "CASHOUT"],
)
def test_the_type_of_a_withdrawal_is_matched_loosely(type_: str) -> None:
    fact = said("admin", withdrawal("APPROVED", type=type_))

    assert (fact.kind, fact.root) == ("withdrawal", "shop:withdrawal:wd_made_up_71")
    assert fact.key == f"{type_}|wd_made_up_71|APPROVED|2025-10-10T13:30:00Z"
    assert rooted("admin", withdrawal("APPROVED", type=type_)) == fact.root


@pytest.mark.parametrize("type_", ["payment", " Payment "])
def test_the_type_of_a_payment_is_matched_whatever_its_case(type_: str) -> None:
    assert said("admin", payment("APPROVED", type=type_)).kind == "order"


@pytest.mark.parametrize("type_", ["PAYMENT", "INVOICE", None])
def test_the_url_of_withdrawals_is_trusted_whatever_the_type_says(type_: str | None) -> None:
    sent = withdrawal("APPROVED", type=type_)

    fact = said("admin", sent, kind="withdraw")

    assert (fact.kind, fact.root) == ("withdrawal", "shop:withdrawal:wd_made_up_71")
    assert rooted("admin", sent, kind="withdraw") == fact.root
    assert fact.key == f"{type_ or ''}|wd_made_up_71|APPROVED|2025-10-10T13:30:00Z"


def test_another_type_is_kept_unmapped() -> None:
    assert refused("admin", payment("APPROVED", type="INVOICE")).startswith("type: ")


def test_a_payment_and_a_withdrawal_may_share_an_id() -> None:
    paid = said("admin", payment("APPROVED", id="same"))
    drawn = said("admin", withdrawal("APPROVED", id="same"))

    assert (paid.root, drawn.root) == ("shop:order:same", "shop:withdrawal:same")


@pytest.mark.parametrize(
    ("currency", "read"), [("BRL", "BRL"), ("usd", "USD"), (None, "BRL"), ("missing", "BRL")]
)
def test_currency_is_in_upper_case_and_brl_by_default(currency: str | None, read: str) -> None:
    sent = payment("APPROVED", currency=currency)
    if currency == "missing":
        del sent["currency"]

    order = told(said("admin", sent)).order

    assert order is not None
    assert order.currency == read


@pytest.mark.parametrize(("literal", "cents"), [("0", 0), ("1", 1), ("9223372036854775807", 2**63 - 1)])
def test_cents_are_whole_numbers(literal: str, cents: int) -> None:
    assert said("admin", payment("APPROVED", amount=raw(literal))).amount_cents == cents


@pytest.mark.parametrize(
    "literal", ["158.90", '"15990"', "true", "9223372036854775808", "1e30", "18446744073709551616", "[1]"]
)
def test_what_is_not_a_number_of_cents_is_not_guessed(literal: str) -> None:
    assert refused("admin", payment("APPROVED", amount=raw(literal))).startswith("amount: ")


def test_an_amount_that_is_not_sent_is_unknown_not_zero() -> None:
    assert said("admin", payment("APPROVED", amount=None)).amount_cents is None


def test_what_is_null_is_empty_in_the_key_and_absent_in_the_content() -> None:
    sent = payment("APPROVED", external_id=None, payer=None, payment_method=None)

    fact = said("admin", sent)

    assert fact.identity == f"PAYMENT|pay_made_up_71|APPROVED|2025-10-07T12:04:05Z|{digest(sent)}"
    assert (fact.reference, fact.method) == (None, None)
    assert fact.payer is None or fact.payer.document is None


def test_without_any_date_the_log_dates_the_delivery() -> None:
    sent = payment("APPROVED", created_at=None) | {"updated_at": None}

    fact = said("admin", sent, position=9)

    assert (fact.occurred_at, fact.occurred_text) == (at(9), None)
    assert fact.key == "PAYMENT|pay_made_up_71|APPROVED|"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-10-07T12:04:05Z", "2025-10-07T12:04:05Z"),
        ("2025-10-07T12:04:05.123456789Z", "2025-10-07T12:04:05.123456789Z"),
        ("2025-10-07T09:04:05-03:00", "2025-10-07T12:04:05Z"),
    ],
)
def test_the_instant_is_utc_whatever_the_offset_and_the_text_is_kept(text: str, instant: str) -> None:
    fact = said("admin", payment("APPROVED", text))

    assert (fact.occurred_at, fact.occurred_text) == (ns(instant), text)


def test_the_specific_event_and_updated_say_the_same_and_are_one_fact() -> None:
    once, again = (
        said("admin", payment("APPROVED"), position=1),
        said("admin", payment("APPROVED"), position=2),
    )

    order = told(once, again).order

    assert order is not None
    assert order.facts == 1


def test_one_key_with_two_contents_is_two_facts() -> None:
    first, second = said("admin", payment("APPROVED")), said("admin", payment("APPROVED", amount=1))

    assert first.key == second.key
    assert first.identity != second.identity


def test_two_transitions_in_one_second_are_ordered_by_precedence() -> None:
    paid, charged_back = said("admin", payment("APPROVED")), said("admin", payment("CHARGEBACK"))

    assert standing(charged_back, paid) == ("charged_back", ["charged_back"])


def test_approved_after_a_contest_is_a_dispute_won() -> None:
    facts = [
        said("admin", payment("APPROVED", "2025-10-01T10:00:00Z")),
        said("admin", payment("IN_DISPUTE", "2025-10-02T10:00:00Z")),
        said("admin", payment("CHARGEBACK", "2025-10-03T10:00:00Z")),
        said("admin", payment("APPROVED", "2025-10-04T10:00:00Z")),
    ]

    assert standing(*facts) == ("paid", ["won"])


def test_approved_after_canceled_is_a_late_payment() -> None:
    facts = [
        said("admin", payment("CANCELED", "2025-10-01T10:00:00Z")),
        said("admin", payment("APPROVED", "2025-10-01T10:00:01Z")),
    ]

    assert standing(*facts) == ("paid", [])
    assert [name for name, _ in flags(*facts)] == ["late_payment"]


def test_a_withdrawal_that_the_bank_bounced_is_flagged() -> None:
    facts = [
        said("admin", withdrawal("APPROVED", "2025-10-01T10:00:00Z")),
        said("admin", withdrawal("REJECTED", "2025-10-02T10:00:00Z")),
    ]

    state = told(*facts).withdrawal

    assert state is not None
    assert (state.status, [flag.name for flag in state.flags]) == ("rejected", ["decision_reversed"])
