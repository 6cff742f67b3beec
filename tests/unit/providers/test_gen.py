"""Gen: each documented object in each envelope, each row of the mapping table, Bolepix."""

from typing import Any

import pytest

from projections.facts import Fact
from tests.bodies import PRECEDENCE, body, digest, document, ns, plain, raw, refused, rooted, said, standing
from tests.facts import at, flags, order_told, told

ORDER = "a2000000-0000-4000-8000-000000000001"
PIX = "a1000000-0000-4000-8000-000000000001"
CARD = "a1000000-0000-4000-8000-000000000002"
SLIP = "a1000000-0000-4000-8000-000000000003"
INVOICE = "inv-made-up-1"


def expected(name: str, key: str, order: str, **members: Any) -> Fact:
    kind, subject, _, _ = key.split("|")
    defaults: dict[str, Any] = {
        "identity": f"{key}|{digest(document('gen', name)['data'])}",
        "root": f"shop:order:{order}",
        "kind": "payment" if kind == "payment" else "order",
        "subject": subject,
        "provider": "gen",
        "currency": "BRL",
    }
    when = members["occurred_text"]
    return Fact(**(defaults | {"occurred_at": ns(when)} | members))


FACTS = {
    "pix_created": expected(
        "pix_created",
        f"payment|{PIX}|PENDING|2025-10-07T15:00:00.250Z",
        ORDER,
        status="pending",
        word="PENDING",
        precedence=0,
        occurred_text="2025-10-07T15:00:00.250Z",
        amount_cents=24000,
        subtotal_cents=24000,
        reference="PAY-9001",
        method="pix",
    ),
    "pix_paid": expected(
        "pix_paid",
        f"payment|{PIX}|PAID|2025-10-07T15:01:30.007Z",
        ORDER,
        status="paid",
        word="PAID",
        precedence=40,
        occurred_text="2025-10-07T15:01:30.007Z",
        amount_cents=24000,
        subtotal_cents=24000,
        reference="PAY-9001",
        method="pix",
    ),
    "card_pre_authorized": expected(
        "card_pre_authorized",
        f"payment|{CARD}|PRE_AUTHORIZED|2025-10-07T16:00:02.340Z",
        "a2000000-0000-4000-8000-000000000002",
        status="authorized",
        word="PRE_AUTHORIZED",
        precedence=10,
        occurred_text="2025-10-07T16:00:02.340Z",
        amount_cents=55000,
        subtotal_cents=55000,
        reference="PAY-9002",
        method="credit",
    ),
    "boleto_created": expected(
        "boleto_created",
        f"payment|{SLIP}|PENDING|2025-10-07T17:00:00.000Z",
        "a2000000-0000-4000-8000-000000000003",
        status="pending",
        word="PENDING",
        precedence=0,
        occurred_text="2025-10-07T17:00:00.000Z",
        amount_cents=7700,
        subtotal_cents=7700,
        method="bank_slip",  # The sample says PIX there; the object that is present counts.
    ),
    "pix_reversed": expected(
        "pix_reversed",
        f"payment|{PIX}|REVERSED|2025-10-12T08:00:00.000Z",
        ORDER,
        status="reversed",
        word="REVERSED",
        precedence=70,
        occurred_text="2025-10-12T08:00:00.000Z",
        amount_cents=24000,
        subtotal_cents=24000,
        reference="PAY-9001",
        method="pix",
    ),
    "order_created": expected(
        "order_created",
        f"order|{ORDER}|PENDING|2025-10-07T14:59:00.000Z",
        ORDER,
        status=None,
        word="PENDING",
        precedence=-1,
        occurred_text="2025-10-07T14:59:00.000Z",
        amount_cents=24000,
        reference="WEB-9001",
    ),
    "bolepix_created": expected(
        "bolepix_created",
        f"charge-create|{INVOICE}|PENDING|2025-10-07T18:00:00.000Z",
        INVOICE,
        status="pending",
        word="PENDING",
        precedence=0,
        occurred_text="2025-10-07T18:00:00.000Z",
        amount_cents=1550,
    ),
    "bolepix_paid": expected(
        "bolepix_paid",
        f"charge-in|{INVOICE}||2025-10-07T18:20:00.000Z",
        INVOICE,
        status="paid",
        word="charge-in",
        precedence=40,
        occurred_text="2025-10-07T18:20:00.000Z",
        amount_cents=1550,
    ),
    "bolepix_canceled": expected(
        "bolepix_canceled",
        f"charge-cancelled|{INVOICE}||2025-10-07T18:20:00.000Z",
        INVOICE,
        status="canceled",
        word="charge-cancelled",
        precedence=26,
        occurred_text="2025-10-07T18:20:00.000Z",
        amount_cents=1550,
    ),
}

STATES: dict[str, tuple[str, list[str]]] = {
    "pix_created": ("pending", []),
    "pix_paid": ("paid", []),
    "card_pre_authorized": ("authorized", []),
    "boleto_created": ("pending", []),
    "pix_reversed": ("refunded", []),  # never seen paid or authorised: refunded, notice lost
    "order_created": ("pending", []),
    "bolepix_created": ("pending", []),
    "bolepix_paid": ("paid", []),
    "bolepix_canceled": ("canceled", []),
}

PAYMENT_ROWS = [
    ("PENDING", "pending", "pending", []),
    ("PRE_AUTHORIZED", "authorized", "authorized", []),
    ("PAID", "paid", "paid", []),
    ("CANCELLED", "canceled", "canceled", []),
    ("REVERSED", "reversed", "refunded", []),
    ("REFUSED", "rejected", "rejected", []),
    ("DENIED", "rejected", "rejected", []),
    ("FAILED", "rejected", "rejected", []),
    ("EXPIRED", "expired", "expired", []),
    ("CHARGEBACK", "charged_back", "charged_back", ["charged_back"]),
    ("DISPUTE", "disputed", "disputed", ["open"]),
]


def payment(status: str, date: str = "2025-10-07T15:01:30.007Z", **members: Any) -> dict[str, Any]:
    """The object alone, without an envelope."""
    inner: dict[str, Any] = document("gen", "pix_paid")["data"]
    return inner | {"status": status, "updated_at": date} | members


def order(**members: Any) -> dict[str, Any]:
    inner: dict[str, Any] = document("gen", "order_created")["data"]
    return inner | members


def told_of(data: dict[str, Any], event: str | None = "PAYMENT.UPDATED", id_: str = "e1") -> dict[str, Any]:
    return {"id": id_, "data": data} | ({} if event is None else {"event": event})


def bolepix(event: str, date: str = "2025-10-07T18:20:00.000Z", **members: Any) -> dict[str, Any]:
    return told_of(document("gen", "bolepix_paid")["data"] | {"updatedAt": date} | members, event)


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_is_its_fact(name: str) -> None:
    assert plain(said("gen", body("gen", name))) == FACTS[name]


@pytest.mark.parametrize("name", FACTS)
def test_each_documented_delivery_has_its_root_and_its_state(name: str) -> None:
    assert rooted("gen", body("gen", name)) == FACTS[name].root
    assert standing(said("gen", body("gen", name))) == STATES[name]


@pytest.mark.parametrize(("word", "canonical", "status", "disputes"), PAYMENT_ROWS)
def test_a_payment_row_of_the_mapping_table_holds(
    word: str, canonical: str, status: str, disputes: list[str]
) -> None:
    fact = said("gen", told_of(payment(word)))

    assert (fact.kind, fact.subject, fact.status, fact.word) == ("payment", PIX, canonical, word)
    assert fact.precedence == PRECEDENCE[canonical]
    assert standing(fact) == (status, disputes)


@pytest.mark.parametrize("event", ["ORDER.CREATED", "ORDER.UPDATED", "ORDER.PAID", "ORDER.CANCELLED"])
@pytest.mark.parametrize("word", ["PENDING", "PAID", "CANCELLED", "ANYTHING_ELSE", None])
def test_an_order_event_tells_of_items_and_never_of_a_status(event: str, word: str | None) -> None:
    fact = said("gen", told_of(order(status=word), event))

    assert (fact.kind, fact.status, fact.precedence, fact.word) == ("order", None, -1, word or "")
    assert (fact.amount_cents, fact.reference, fact.root) == (24000, "WEB-9001", f"shop:order:{ORDER}")
    assert standing(fact) == ("pending", [])


@pytest.mark.parametrize(
    ("event", "members", "status", "precedence", "word"),
    [
        ("charge-create", {"status": "PENDING"}, "pending", 0, "PENDING"),
        ("charge-in", {}, "paid", 40, "charge-in"),
        ("charge-in", {"status": None}, "paid", 40, "charge-in"),
        ("charge-cancelled", {}, "canceled", 26, "charge-cancelled"),
    ],
)
def test_a_bolepix_row_of_the_mapping_table_holds(
    event: str, members: dict[str, Any], status: str, precedence: int, word: str
) -> None:
    fact = said("gen", bolepix(event, **members))

    assert (fact.kind, fact.subject, fact.root) == ("order", INVOICE, f"shop:order:{INVOICE}")
    assert (fact.status, fact.precedence, fact.word) == (status, precedence, word)
    assert fact.key == f"{event}|{INVOICE}|{members.get('status') or ''}|2025-10-07T18:20:00.000Z"


def test_the_amounts_of_bolepix_are_decimal_reais() -> None:
    assert said("gen", bolepix("charge-in", amount=raw("5.0"))).amount_cents == 500
    assert said("gen", bolepix("charge-in", amount=raw("1234567890123.45"))).amount_cents == (
        123_456_789_012_345
    )


@pytest.mark.parametrize("literal", ["15.505", '"15.50"', "true"])
def test_what_is_not_an_amount_in_reais_is_not_guessed(literal: str) -> None:
    assert "amount: " in refused("gen", bolepix("charge-in", amount=raw(literal)))


def test_a_bolepix_payment_wins_over_its_cancellation_at_the_same_instant() -> None:
    paid, canceled = said("gen", bolepix("charge-in")), said("gen", bolepix("charge-cancelled"))

    assert standing(canceled, paid) == standing(paid, canceled) == ("paid", [])


def test_bolepix_is_timed_by_when_it_was_inserted_where_nothing_else_is_said() -> None:
    fact = said("gen", bolepix("charge-in", updatedAt=None))

    assert fact.occurred_text == "2025-10-07T18:00:00.000Z"
    assert fact.occurred_at == ns("2025-10-07T18:00:00Z")


ENVELOPES: dict[str, dict[str, Any]] = {
    "event and data": {"id": "e1", "event": "PAYMENT.PAID", "data": payment("PAID")},
    "type and data": {"id": "e2", "type": "PAYMENT.PAID", "data": payment("PAID")},
    "name and data": {"name": "PAYMENT.PAID", "data": payment("PAID")},
    "event_type and data": {"event_type": "PAYMENT.PAID", "data": payment("PAID")},
    "the first that is an event's name": {"event": 7, "type": "webhook", "name": "PAYMENT.PAID"}
    | {"data": payment("PAID")},
    "payment": {"event": "PAYMENT.PAID", "payment": payment("PAID")},
    "data.payment": {"event": "PAYMENT.PAID", "data": {"payment": payment("PAID")}},
    "no name": {"id": "e3", "data": payment("PAID")},
    "another action in the name": {"event": "PAYMENT.UPDATED", "data": payment("PAID")},
}  # fmt: skip


@pytest.mark.parametrize("envelope", ENVELOPES)
def test_the_envelope_changes_nothing_of_what_is_said(envelope: str) -> None:
    assert said("gen", ENVELOPES[envelope]) == said("gen", body("gen", "pix_paid"))
    assert rooted("gen", ENVELOPES[envelope]) == f"shop:order:{ORDER}"


def test_an_object_without_an_envelope_is_read() -> None:
    assert said("gen", payment("PAID")) == said("gen", body("gen", "pix_paid"))
    assert said("gen", order()) == said("gen", body("gen", "order_created"))


def test_an_object_that_carries_its_events_name_is_read() -> None:
    flat = payment("PAID") | {"event": "PAYMENT.PAID"}

    fact = said("gen", flat)

    assert (fact.kind, fact.subject, fact.status) == ("payment", PIX, "paid")
    assert fact.key == f"payment|{PIX}|PAID|2025-10-07T15:01:30.007Z"


@pytest.mark.parametrize(
    "envelope",
    [
        {"event": "ORDER.CREATED", "data": order()},
        {"event": "ORDER.CREATED", "order": order()},
        {"event": "ORDER.CREATED", "data": {"order": order()}},
        {"data": order()},
        {"order": order()},
    ],
)
def test_the_envelope_of_an_order_changes_nothing(envelope: dict[str, Any]) -> None:
    assert said("gen", envelope) == said("gen", body("gen", "order_created"))


def test_an_order_event_that_brings_a_payment_along_is_about_the_order() -> None:
    both = {"payment": payment("PAID"), "order": order()}

    assert said("gen", {"event": "ORDER.UPDATED", "data": both}) == said("gen", body("gen", "order_created"))
    assert said("gen", {"event": "PAYMENT.PAID", "data": both}) == said("gen", body("gen", "pix_paid"))


def test_the_objects_status_decides_never_the_events_suffix() -> None:
    assert said("gen", told_of(payment("PENDING"), "PAYMENT.PAID")).status == "pending"


def test_an_event_id_is_no_part_of_the_identity_and_never_the_subject() -> None:
    first = said("gen", told_of(payment("PAID"), id_="e1"))
    resent = said("gen", told_of(payment("PAID"), id_="e2"))

    assert first == resent
    assert first.subject == PIX


def test_one_event_id_with_the_object_of_another_moment_is_another_fact() -> None:
    first = said("gen", told_of(payment("PENDING"), id_="e1"))
    resent = said("gen", told_of(payment("PAID", "2025-10-07T15:09:00.000Z"), id_="e1"))

    assert first.identity != resent.identity


@pytest.mark.parametrize("event", ["SUBSCRIPTION.CREATED", "SELLER.UPDATED"])
def test_an_event_of_another_kind_is_kept_unmapped(event: str) -> None:
    assert refused("gen", {"id": "e1", "event": event, "data": {"id": "s1"}}).startswith("event: ")


def test_without_the_objects_dates_the_envelopes_counts() -> None:
    sent = {"event": "PAYMENT.PAID", "data": payment("PAID", inserted_at=None) | {"updated_at": None}}

    fact = said("gen", sent | {"created_at": "2025-10-07T15:02:00Z"})

    assert fact.occurred_at == ns("2025-10-07T15:02:00Z")
    assert fact.identity == said("gen", sent).identity
    assert refused("gen", sent | {"created_at": "2025-02-30T00:00:00Z"}).startswith("created_at: ")


@pytest.mark.parametrize(
    ("updated", "inserted", "counts"),
    [
        ("2025-10-07T15:01:30.007Z", "2025-10-07T15:00:00.250Z", "2025-10-07T15:01:30.007Z"),
        # The documentation's own examples: an update twenty years before the insertion.
        ("2005-10-07T15:01:30.007Z", "2025-10-07T15:00:00.250Z", "2025-10-07T15:00:00.250Z"),
        (None, "2025-10-07T15:00:00.250Z", "2025-10-07T15:00:00.250Z"),
        ("2025-10-07T15:01:30.007Z", None, "2025-10-07T15:01:30.007Z"),
    ],
)
def test_the_later_of_the_two_dates_counts(updated: str | None, inserted: str | None, counts: str) -> None:
    fact = said("gen", told_of(payment("PAID", inserted_at=inserted) | {"updated_at": updated}))

    assert (fact.occurred_at, fact.occurred_text) == (ns(counts), counts)
    assert fact.key == f"payment|{PIX}|PAID|{updated or ''}"


def test_without_any_date_the_log_dates_the_delivery() -> None:
    fact = said("gen", {"data": payment("PAID", inserted_at=None) | {"updated_at": None}}, position=5)

    assert (fact.occurred_at, fact.occurred_text) == (at(5), None)


@pytest.mark.parametrize("word", ["paid", " PAID ", "Paid"])
def test_words_match_trimmed_and_in_upper_case_and_are_kept_as_sent(word: str) -> None:
    fact = said("gen", told_of(payment(word)))

    assert (fact.status, fact.word) == ("paid", word)
    assert fact.key == f"payment|{PIX}|{word}|2025-10-07T15:01:30.007Z"


@pytest.mark.parametrize("word", ["CANCELED", "REFUNDED", "AUTHORIZED", "SETTLED", ""])
def test_another_spelling_is_not_guessed(word: str) -> None:
    assert "status: " in refused("gen", told_of(payment(word)))


@pytest.mark.parametrize("word", ["CHARGEBACK_REVERSED", "DISPUTE_WON", "IN_DISPUTE", "chargeback_lost"])
def test_chargeback_reversed_is_quarantined_and_listed_first(word: str) -> None:
    assert refused("gen", told_of(payment(word))).startswith("dispute:")


@pytest.mark.parametrize(
    ("members", "method"),
    [
        ({"method": "PIX"}, "pix"),
        ({"method": "BANK_SLIP", "pix": None}, "bank_slip"),
        ({"method": "CREDIT_CARD", "pix": None}, "credit_card"),
        ({"method": "PIX", "pix": None, "bank_slip": {"bank": "0000"}}, "bank_slip"),
        ({"method": "PIX", "pix": None, "credit": {"installments": 1}}, "credit"),
        ({"method": None, "pix": None}, None),
    ],
)
def test_the_object_that_is_present_tells_the_method(members: dict[str, Any], method: str | None) -> None:
    assert said("gen", told_of(payment("PAID", **members))).method == method


@pytest.mark.parametrize(
    ("members", "subtotal"),
    [
        ({}, 24000),
        ({"subtotal_cents": None}, 24000),  # Of 24000, less 1700 and 300, and 2000 more.
        ({"subtotal_cents": None, "discount_cents": 0}, 22000),
    ],
)
def test_a_payments_share_is_its_subtotal_or_what_follows_from_the_total(
    members: dict[str, Any], subtotal: int
) -> None:
    fact = said("gen", told_of(payment("PAID", **members)))

    assert (fact.subtotal_cents, fact.amount_cents) == (subtotal, 24000)


def test_an_orders_total_is_the_sum_of_its_items() -> None:
    items = [
        {"description": "a", "quantity": 3, "unit_price_cents": 333},
        {"description": "b", "quantity": 1, "unit_price_cents": 1},
    ]

    assert said("gen", told_of(order(items=items), "ORDER.UPDATED")).amount_cents == 1000


def test_a_manual_resend_of_an_old_state_changes_nothing_in_the_present() -> None:
    created = said("gen", body("gen", "pix_created"), position=1)
    paid = said("gen", body("gen", "pix_paid"), position=2)
    resent = said("gen", document("gen", "pix_created", id="another-event-id"), position=900)
    never_seen = said("gen", told_of(payment("PENDING", "2025-10-07T15:00:09.000Z")), position=901)

    assert told(created, paid, resent) == told(created, paid)
    assert standing(created, paid, never_seen) == standing(created, paid) == ("paid", [])
    assert flags(created, paid, never_seen) == []


def test_a_cancelled_payment_beside_a_live_one_leaves_the_order_alive() -> None:
    first = said("gen", told_of(payment("PENDING", "2025-10-07T15:00:00.250Z")))
    second = said("gen", told_of(payment("PENDING", "2025-10-07T15:00:01.000Z", id="other-payment")))
    canceled = said("gen", told_of(payment("CANCELLED", "2025-10-07T16:00:00.000Z")))
    paid = said("gen", told_of(payment("PAID", "2025-10-07T17:00:00.000Z", id="other-payment")))

    assert standing(first, second, canceled) == ("pending", [])
    assert standing(first, second, canceled, paid) == ("paid", [])
    assert standing(first, canceled) == ("canceled", [])


def test_payments_fill_up_an_orders_known_total() -> None:
    ordered = said("gen", body("gen", "order_created"))
    half = said("gen", told_of(payment("PAID", subtotal_cents=12000, total_cents=12000)))
    rest = said("gen", told_of(payment("PAID", id="other", subtotal_cents=12000, total_cents=13700)))

    assert standing(ordered, half) == ("partially_paid", [])
    assert standing(ordered, half, rest) == ("paid", [])
    assert order_told(ordered, half, rest).paid_cents == 25700


@pytest.mark.parametrize("word", ["CANCELLED", "REVERSED"])
def test_a_lapsed_authorisation_is_canceled_for_no_money_moved(word: str) -> None:
    authorized = said("gen", told_of(payment("PRE_AUTHORIZED", "2025-10-07T15:00:00.000Z")))
    lapsed = said("gen", told_of(payment(word, "2025-10-14T15:00:00.000Z")))

    assert standing(authorized, lapsed) == ("canceled", [])
    assert flags(authorized, lapsed) == []


def test_cancelled_after_paid_means_that_the_money_goes_back() -> None:
    facts = [
        said("gen", body("gen", "pix_paid")),
        said("gen", told_of(payment("CANCELLED", "2025-10-09T00:00:00.000Z"))),
    ]

    assert standing(*facts) == ("refunded", [])
    assert [name for name, _ in flags(*facts)] == ["canceled_with_money"]
