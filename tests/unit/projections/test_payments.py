"""Orders whose status is computed from their payments: docs/providers/gen.md, section 5."""

import pytest

from projections.facts import Fact
from projections.states import Payment
from tests.facts import at, fact, flags, items, order_told, payment, statuses, told


def test_line_1_a_payment_charged_back_outweighs_the_rest() -> None:
    order = order_told(items(0, 200), payment("a", "paid", 1), payment("b", "charged_back", 2))

    assert order.status == "charged_back"


def test_line_2_a_disputed_payment_outweighs_a_paid_one() -> None:
    order = order_told(items(0, 200), payment("a", "paid", 1), payment("b", "disputed", 2))

    assert order.status == "disputed"


LINE_3: list[tuple[str, list[Fact], str, bool]] = [
    ("one pays it all", [items(0, 100), payment("a", "paid", 1)], "paid", False),
    ("two pay it all", [items(0, 200), payment("a", "paid", 1), payment("b", "paid", 2)], "paid", False),
    ("more than all", [items(0, 150), payment("a", "paid", 1), payment("b", "paid", 2)], "paid", False),
    ("one pays a part", [items(0, 200), payment("a", "paid", 1)], "partially_paid", False),
    (
        "all was paid once",
        [items(0, 200), payment("a", "paid", 1), payment("b", "paid", 2), payment("b", "reversed", 3)],
        "partially_refunded",
        False,
    ),
    (
        "never was all paid",
        [items(0, 300), payment("a", "paid", 1), payment("b", "paid", 2), payment("b", "reversed", 3)],
        "partially_paid",
        False,
    ),
    ("total unknown, paid", [payment("a", "paid", 1)], "paid", True),
    ("total unknown, items without prices", [items(0, None), payment("a", "paid", 1)], "paid", True),
    (
        "total unknown, one given back",
        [payment("a", "paid", 1), payment("b", "paid", 2), payment("b", "canceled", 3)],
        "partially_refunded",
        True,
    ),
    (
        "total unknown, another never paid",
        [payment("a", "paid", 1), payment("b", "canceled", 2)],
        "paid",
        True,
    ),
    ("share unknown", [items(0, 100), payment("a", "paid", 1, None)], "paid", True),
    (
        "share of what was given back unknown",
        [
            items(0, 200),
            payment("a", "paid", 1),
            payment("b", "paid", 2, None),
            payment("b", "reversed", 3, None),
        ],
        "partially_refunded",
        True,
    ),
]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [(facts, (status, unknown)) for _, facts, status, unknown in LINE_3],
    ids=[name for name, *_ in LINE_3],
)
def test_line_3_money_is_weighed_against_the_total(facts: list[Fact], expected: tuple[str, bool]) -> None:
    order = order_told(*facts)

    assert (order.status, order.total_unknown) == expected


def test_line_4_all_that_was_paid_is_given_back() -> None:
    order = order_told(items(0, 100), payment("a", "paid", 1), payment("a", "reversed", 2))

    assert (order.status, order.paid_cents) == ("refunded", 0)


def test_line_4_holds_where_the_paid_ones_amount_to_nothing() -> None:
    order = order_told(items(0, 100), payment("a", "paid", 1, 0))

    assert (order.status, order.paid_cents) == ("refunded", 0)


def test_line_4_outweighs_a_new_try() -> None:
    order = order_told(
        items(0, 100), payment("a", "paid", 1), payment("a", "canceled", 2), payment("b", "pending", 3)
    )

    assert order.status == "refunded"


def test_line_5_an_authorised_payment_outweighs_a_pending_one() -> None:
    order = order_told(payment("a", "pending", 1), payment("b", "authorized", 2))

    assert order.status == "authorized"


@pytest.mark.parametrize("facts", [[items(0, 100)], [payment("a", "pending", 1)]])
def test_line_6_pending_while_one_is_or_none_is_known(facts: list[Fact]) -> None:
    assert order_told(*facts).status == "pending"


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ([payment("a", "canceled", 1), payment("b", "rejected", 2)], "rejected"),
        ([payment("a", "canceled", 2), payment("b", "rejected", 1)], "canceled"),
        ([payment("a", "expired", 1)], "expired"),
        ([payment("a", "authorized", 1), payment("a", "reversed", 2)], "canceled"),
        ([payment("a", "authorized", 1), payment("a", "canceled", 2)], "canceled"),
        ([payment("a", "pending", 1), payment("a", "reversed", 2)], "refunded"),
    ],
)
def test_line_7_all_dead_the_word_of_the_last(facts: list[Fact], status: str) -> None:
    assert order_told(*facts).status == status


def test_line_7_a_re_sent_word_is_not_the_last() -> None:
    order = order_told(
        payment("a", "canceled", 1, word="CANCELLED"),
        payment("b", "rejected", 2),
        payment("a", "canceled", 3, word="cancelled"),
    )

    assert order.status == "rejected"


def test_a_reversal_never_seen_paid_or_authorised_says_that_a_notice_was_lost() -> None:
    facts = [payment("a", "pending", 1), payment("a", "reversed", 2)]

    assert flags(*facts) == [("payment_notice_lost", 2)]


def test_a_reversal_of_an_authorisation_raises_nothing() -> None:
    assert flags(payment("a", "authorized", 1), payment("a", "reversed", 2)) == []


@pytest.mark.parametrize(
    ("money", "flagged"), [("paid", []), ("disputed", []), ("charged_back", ["refund_after_chargeback"])]
)
def test_a_reversal_of_money_is_a_refund_though_it_was_authorised_first(
    money: str, flagged: list[str]
) -> None:
    facts = [payment("a", "authorized", 1), payment("a", money, 2), payment("a", "reversed", 3)]

    assert order_told(*facts).status == "refunded"
    assert [name for name, second in flags(*facts) if second == 3] == flagged


def test_a_cancelled_payment_does_not_cancel_an_order_with_another_live_one() -> None:
    pending = [payment("a", "pending", 1), payment("b", "pending", 2), payment("a", "canceled", 3)]
    paid = [*pending, payment("b", "paid", 4)]

    assert order_told(*pending).status == "pending"
    assert order_told(items(0, 100), *paid).status == "paid"


def test_a_manual_resend_of_an_old_state_takes_its_place_in_that_payments_past() -> None:
    facts = [items(0, 100), payment("a", "pending", 1), payment("a", "paid", 2)]

    before = told(*facts)
    after = told(*facts[:1], facts[2], facts[1])

    assert after == before
    assert statuses(*facts) == ["pending", "paid"]


def test_the_total_is_that_of_the_whole_timeline_also_for_the_past() -> None:
    facts = [items(0, 100), payment("a", "paid", 1), items(2, 200), payment("b", "paid", 3)]

    assert statuses(*facts) == ["pending", "partially_paid", "paid"]


def test_an_order_carries_its_payments_flags_and_none_for_its_own_moves() -> None:
    facts = [
        payment("a", "paid", 1),
        payment("b", "paid", 1),
        payment("a", "pending", 2),
        payment("b", "pending", 2),
    ]

    assert flags(*facts) == [("status_went_back", 2)]


def test_an_order_lists_its_payments() -> None:
    order = order_told(
        items(0, 300),
        payment("a", "paid", 1, 120, subtotal_cents=100, reference="PG-1", method="pix"),
        payment("b", "pending", 2, 200, reference="PG-2", method="bank_slip"),
    )

    assert order.payments == (
        Payment(id="a", status="paid", total_cents=120, reference="PG-1", method="pix"),
        Payment(id="b", status="pending", total_cents=200, reference="PG-2", method="bank_slip"),
    )
    assert (order.amount_cents, order.paid_cents) == (300, 120)


def test_an_orders_reference_is_never_a_payments() -> None:
    order = order_told(
        fact(None, 0, provider="gen", reference="LJ-1"),
        payment("a", "paid", 1, reference="PG-1", method="pix"),
    )

    assert (order.reference, order.method) == ("LJ-1", "pix")


def test_a_bolepix_snapshot_beside_payments_is_one_more_of_them() -> None:
    facts = [items(0, 200), payment("a", "paid", 1), fact("paid", 2, subject="invoice", provider="gen")]

    order = order_told(*facts)

    assert [each.id for each in order.payments or ()] == ["a", "invoice"]
    assert (order.status, order.total_unknown) == ("paid", True)


def test_a_dispute_is_won_by_its_own_payment_never_by_another() -> None:
    contested = [payment("a", "paid", 1), payment("a", "charged_back", 2), payment("b", "paid", 3)]

    (still,) = told(*contested).disputes
    (won,) = told(*contested, payment("a", "paid", 4)).disputes

    assert (still.status, still.subject, still.ended_at) == ("charged_back", "a", None)
    assert (won.status, won.ended_at) == ("won", at(4))
