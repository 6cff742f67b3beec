"""Aprovei: each documented delivery, each row of the mapping table, carts."""

import hashlib
from typing import Any

import pytest

from projections.facts import Fact
from tests.bodies import PRECEDENCE, body, digest, document, ns, plain, raw, refused, rooted, said, standing
from tests.facts import at, flags, order_told, told

CREATED = "2025-10-07T12:00:00Z"
APPROVED = "2025-10-07T12:03:21Z"
REFUNDED = "2025-10-09T09:00:00Z"


def expected(name: str, key: str, **members: Any) -> Fact:
    token, word, _, _ = key.split("|")
    defaults: dict[str, Any] = {
        "identity": f"{key}|{digest(body('aprovei', name))}",
        "root": f"shop:order:{token}",
        "kind": "order",
        "subject": token,
        "word": word,
        "provider": "aprovei",
        "currency": "BRL",
        "method": "pix",
        "win_dated": False,
        "occurred_at": ns(members["occurred_text"]),
    }
    return Fact(**(defaults | members))


FACTS = {
    "new_sale": expected(
        "new_sale",
        "APVMADEUP0001|pending||",
        status="pending",
        precedence=0,
        occurred_text=CREATED,
        amount_cents=18700,
        reference="WEB-6001",
        products=("SKU-CL", "SKU-PN"),
    ),
    "sale_approved": expected(
        "sale_approved",
        f"APVMADEUP0001|approved|{APPROVED}|",
        status="paid",
        precedence=40,
        occurred_text=APPROVED,
        amount_cents=18700,
        reference="WEB-6001",
        products=("SKU-CL", "SKU-PN"),
    ),
    "sale_refunded": expected(
        "sale_refunded",
        "APVMADEUP0002|refunded|2025-10-01T10:02:00Z|2025-10-06T19:00:00Z",
        status="refunded",
        precedence=70,
        occurred_text="2025-10-06T19:00:00Z",
        amount_cents=5400,
        refunded_cents=5400,
        reference="WEB-6002",
        products=("SKU-ZZ",),
    ),
    "sale_chargeback": expected(
        "sale_chargeback",
        "APVMADEUP0003|chargeback|2025-09-01T10:02:00Z|2025-10-09T11:00:00Z",
        status="charged_back",
        precedence=80,
        occurred_text="2025-10-09T11:00:00Z",
        amount_cents=8800,
        reference="WEB-6003",
        products=("SKU-OF",),
    ),
}

STATES: dict[str, tuple[str, list[str]]] = {
    "new_sale": ("pending", []),
    "sale_approved": ("paid", []),
    "sale_refunded": ("refunded", []),
    "sale_chargeback": ("charged_back", ["charged_back"]),
}

ROWS = [
    ("pending", "pending", "pending", []),
    ("approved", "paid", "paid", []),
    ("refused", "rejected", "rejected", []),
    ("rejected", "rejected", "rejected", []),
    ("declined", "rejected", "rejected", []),
    ("failed", "rejected", "rejected", []),
    ("refunded", "refunded", "refunded", []),
    ("chargeback", "charged_back", "charged_back", ["charged_back"]),
    ("canceled", "canceled", "canceled", []),
    ("cancelled", "canceled", "canceled", []),
    ("expired", "expired", "expired", []),
]


def sale(
    status: str, approved: str | None = None, refunded: str | None = None, **members: Any
) -> dict[str, Any]:
    dates = {"date_approved": approved, "date_refunded": refunded}
    return document("aprovei", "new_sale", payment_status=status, **dates, **members)


def cart(**members: Any) -> dict[str, Any]:
    return document("aprovei", "cart_abandoned", **members)


def nameless(**members: Any) -> dict[str, Any]:
    sent = cart(**members)
    del sent["cart_token"]
    return sent


def derived(text: str) -> str:
    return "shop:cart:" + hashlib.sha256(text.encode()).hexdigest()[:32]


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_is_its_fact(name: str) -> None:
    assert plain(said("aprovei", body("aprovei", name))) == FACTS[name]


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_has_its_root_and_its_state(name: str) -> None:
    assert rooted("aprovei", body("aprovei", name)) == FACTS[name].root
    assert standing(said("aprovei", body("aprovei", name))) == STATES[name]


@pytest.mark.parametrize("kind", [None, "default"])
def test_an_abandoned_cart_is_its_fact(kind: str | None) -> None:
    fact = said("aprovei", body("aprovei", "cart_abandoned"), kind=kind)

    assert (fact.kind, fact.subject, fact.status) == ("cart", "CARTMADEUP0001", "abandoned")
    assert (fact.word, fact.precedence, fact.provider) == ("", 0, "aprovei")
    assert (fact.occurred_at, fact.occurred_text) == (ns("2025-10-07T21:00:00Z"), "2025-10-07T21:00:00Z")
    assert fact.products == ("SKU-PN",)
    assert fact.recovery_url == "https://example.com/checkout/CARTMADEUP0001"
    assert (
        fact.root == rooted("aprovei", body("aprovei", "cart_abandoned"), kind) == "shop:cart:CARTMADEUP0001"
    )
    assert fact.identity.endswith("|" + digest(body("aprovei", "cart_abandoned")))
    assert standing(fact) == ("abandoned", [])


@pytest.mark.parametrize(("word", "canonical", "status", "disputes"), ROWS)
def test_a_row_of_the_mapping_table_holds(
    word: str, canonical: str, status: str, disputes: list[str]
) -> None:
    fact = said("aprovei", sale(word))

    assert (fact.kind, fact.status, fact.word) == ("order", canonical, word)
    assert (fact.precedence, fact.flag) == (PRECEDENCE[canonical], None)
    assert standing(fact) == (status, disputes)


@pytest.mark.parametrize("word", ["APPROVED", " approved", "Approved\t"])
def test_words_match_trimmed_and_in_upper_case_and_are_kept_as_sent(word: str) -> None:
    fact = said("aprovei", sale(word, APPROVED))

    assert (fact.status, fact.word) == ("paid", word)
    assert fact.key == f"APVMADEUP0001|{word}|{APPROVED}|"


@pytest.mark.parametrize("word", ["paid", "refund", "in_analysis", ""])
def test_another_word_is_not_guessed(word: str) -> None:
    assert refused("aprovei", sale(word)).startswith("payment_status: ")


@pytest.mark.parametrize("word", ["chargeback_won", "dispute", "IN_DISPUTE"])
def test_an_unknown_word_on_a_contest_is_kept_and_listed_first(word: str) -> None:
    assert refused("aprovei", sale(word)).startswith("dispute: ")


def test_deduplicating_by_token_alone_would_lose_the_approval() -> None:
    new, approved = (
        said("aprovei", body("aprovei", "new_sale")),
        said("aprovei", body("aprovei", "sale_approved")),
    )

    assert new.subject == approved.subject
    assert new.identity != approved.identity
    assert standing(new, approved) == ("paid", [])


def test_a_late_pending_after_the_approval_is_ordinary() -> None:
    facts = [said("aprovei", sale("approved", APPROVED)), said("aprovei", sale("pending"))]

    assert standing(*facts) == ("paid", [])
    assert flags(*facts) == []


@pytest.mark.parametrize(
    ("dates", "counts"),
    [
        ((CREATED, None, None), CREATED),
        ((CREATED, APPROVED, None), APPROVED),
        ((CREATED, APPROVED, REFUNDED), REFUNDED),
        ((CREATED, "2025-10-01T00:00:00Z", None), CREATED),
        ((None, APPROVED, None), APPROVED),
        (("2025-10-07T12:00:00+03:00", "2025-10-07T10:00:00Z", None), "2025-10-07T10:00:00Z"),
    ],
)
def test_the_latest_date_that_the_delivery_carries_counts(
    dates: tuple[str | None, str | None, str | None], counts: str
) -> None:
    created, approved, refunded = dates

    fact = said("aprovei", sale("refused", approved, refunded, date_created=created))

    assert (fact.occurred_at, fact.occurred_text) == (ns(counts), counts)


def test_without_any_date_the_log_dates_the_delivery() -> None:
    fact = said("aprovei", sale("pending", date_created=None), position=4)

    assert (fact.occurred_at, fact.occurred_text) == (at(4), None)
    assert fact.key == "APVMADEUP0001|pending||"


@pytest.mark.parametrize(("word", "cents"), [("refunded", 18700), ("approved", None), ("pending", None)])
def test_the_whole_amount_is_given_back_once_refunded(word: str, cents: int | None) -> None:
    fact = said("aprovei", sale(word, APPROVED))

    assert (fact.amount_cents, fact.refunded_cents) == (18700, cents)


@pytest.mark.parametrize("literal", ["187.00", '"18700"', "true", "9223372036854775808", "{}"])
def test_what_is_not_a_number_of_cents_is_not_guessed(literal: str) -> None:
    assert refused("aprovei", sale("approved", transaction_amount=raw(literal))).startswith(
        "transaction_amount: "
    )


def test_amounts_that_do_not_add_up_are_no_reason_to_refuse() -> None:
    assert said("aprovei", sale("approved", APPROVED, transaction_amount=1)).amount_cents == 1


def test_an_approval_that_carries_a_refunds_date_sorts_before_the_chargeback_and_is_flagged() -> None:
    approved = said("aprovei", sale("approved", APPROVED))
    chargeback = said("aprovei", sale("chargeback", APPROVED, REFUNDED))
    again = said("aprovei", sale("approved", APPROVED, REFUNDED))

    assert again.flag == "possible_win"
    assert standing(approved, chargeback, again) == ("charged_back", ["charged_back"])
    assert "possible_win" in [name for name, _ in flags(approved, chargeback, again)]


def test_an_approval_after_a_chargeback_is_no_proof_of_a_win() -> None:
    chargeback = said("aprovei", sale("chargeback", APPROVED, REFUNDED))
    later = said("aprovei", sale("approved", "2025-11-01T00:00:00Z"))

    assert not later.win_dated
    assert standing(chargeback, later)[1] == ["charged_back"]


def test_a_chargeback_that_keeps_the_refunds_date_comes_after_it() -> None:
    facts = [
        said("aprovei", sale("approved", APPROVED)),
        said("aprovei", sale("chargeback", APPROVED, REFUNDED)),
        said("aprovei", sale("refunded", APPROVED, REFUNDED)),
    ]

    assert standing(*facts) == ("charged_back", ["charged_back"])
    assert [name for name, _ in flags(*facts)] == ["double_loss"]


def test_product_codes_are_sorted_and_distinct() -> None:
    products = [{"code": code, "amount": 1, "quantity": 1} for code in ("B", "A", "B")]

    assert order_told(said("aprovei", sale("pending", products=products))).products == ("A", "B")


@pytest.mark.parametrize("name", ["cart_token", "checkout_id", "checkout_token", "token", "id"])
def test_a_carts_id_is_the_first_that_is_there(name: str) -> None:
    assert said("aprovei", nameless() | {name: "C-1"}).root == "shop:cart:C-1"
    assert said("aprovei", cart(**{name: "C-1"})).subject == (
        "C-1" if name == "cart_token" else "CARTMADEUP0001"
    )


def test_an_id_that_is_no_string_is_passed_over() -> None:
    assert said("aprovei", nameless(checkout_id=17, token="C-2")).subject == "C-2"


def test_a_cart_without_an_id_has_a_derived_one() -> None:
    products = [{"code": "SKU-Z", "amount": 1, "quantity": 1}, {"code": "SKU-A", "amount": 1, "quantity": 1}]
    sent = nameless(products=products)
    sent["customer"] |= {"email": "Yara.Ficticia@Example.com"}

    root = rooted("aprovei", sent)

    assert root == derived("yara.ficticia@example.com|SKU-A,SKU-Z|2025-10-07")
    assert said("aprovei", sent).root == root


def test_the_day_of_a_derived_id_is_that_of_utc() -> None:
    sent = nameless(date_created="2025-10-07T22:30:00-03:00")

    assert rooted("aprovei", sent) == derived("yara.ficticia@example.com|SKU-PN|2025-10-08")


def test_a_derived_id_is_unkeyed_for_a_root_may_never_change() -> None:
    later = nameless(date_created="2025-10-07T23:59:59Z", utms=None)

    assert rooted("aprovei", later) == rooted("aprovei", nameless())


@pytest.mark.parametrize("name", ["checkout_url", "abandoned_checkout_url", "recovery_url", "url"])
def test_the_address_of_recovery_is_the_first_that_is_there_without_query_and_fragment(name: str) -> None:
    sent = cart()
    del sent["checkout_url"]

    fact = said("aprovei", sent | {name: "https://example.com/back/7?email=a%40b&x=1#frag"})

    assert fact.recovery_url == "https://example.com/back/7"


def test_a_cart_told_of_twice_is_one() -> None:
    state = told(said("aprovei", cart(), position=1), said("aprovei", cart(), position=2)).cart

    assert state is not None
    assert (state.facts, state.abandoned_at) == (1, ns("2025-10-07T21:00:00Z"))


def test_a_delivery_that_is_neither_sale_nor_cart_is_kept_unmapped() -> None:
    assert refused("aprovei", {"hello": "world"}) != ""
