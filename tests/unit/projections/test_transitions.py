"""Every cell of the transition table, as the page docs/providers/README.md has it."""

import pytest

from projections.states import OrderStatus
from tests.facts import fact, flags, order_told

WORDS: tuple[OrderStatus, ...] = (
    "pending",
    "authorized",
    "overdue",
    "partially_paid",
    "rejected",
    "expired",
    "paid",
    "canceled",
    "partially_refunded",
    "disputed",
    "refunded",
    "charged_back",
)

CODES = {
    ".": None,
    "M": "canceled_with_money",
    "S": "canceled_after_settlement",
    "L": "payment_notice_lost",
    "T": "late_payment",
    "O": "reopened",
    "R": "refund_after_chargeback",
    "D": "double_loss",
    "P": "paid_after_refund",
    "B": "status_went_back",
}

# A row is the status before, a column the word, both in the order of WORDS.
TABLE = """
    pending             . . . . . . . . L L L L
    authorized          B . B . . B . . L L L L
    overdue             . . . . B . . . L L L L
    partially_paid      B B . . B B . M . . . .
    rejected            . . . . . . . . L L L L
    expired             O O O T B . T . L L L L
    paid                B B B B B B . M . . . .
    canceled            O O O T B B T . L L L L
    partially_refunded  B B B P B B P M . . . .
    disputed            B B B . B B . M . . . .
    refunded            B B B P B B P S B D . D
    charged_back        B B B . B B . S R . R .
"""

CELLS = [
    (row.split()[0], word, CODES[code])
    for row in TABLE.strip().splitlines()
    for word, code in zip(WORDS, row.split()[1:], strict=True)
]


@pytest.mark.parametrize(("before", "word", "flag"), CELLS)
def test_a_word_after_a_status_gives_the_tables_status_and_flag(
    before: str, word: str, flag: str | None
) -> None:
    after = {"canceled_with_money": "refunded", "canceled_after_settlement": before}.get(flag or "", word)

    order = order_told(fact(before, 1), fact(word, 2))
    raised = [name for name, second in flags(fact(before, 1), fact(word, 2)) if second == 2]

    assert order.status == after
    assert raised == ([] if flag is None else [flag])


def test_the_table_has_every_cell() -> None:
    assert {(before, word) for before, word, _ in CELLS} == {(a, b) for a in WORDS for b in WORDS}


@pytest.mark.parametrize("before", WORDS)
def test_an_alert_leaves_the_status(before: str) -> None:
    order = order_told(fact(before, 1), fact("alert", 2))

    assert order.status == before
    assert not [flag for flag in flags(fact(before, 1), fact("alert", 2)) if flag[1] == 2]


@pytest.mark.parametrize("word", WORDS)
def test_the_first_fact_is_judged_as_from_pending(word: str) -> None:
    order = order_told(fact(word, 1))

    assert order.status == word
    assert [name for name, _ in flags(fact(word, 1))] == (
        ["payment_notice_lost"]
        if word in {"partially_refunded", "disputed", "refunded", "charged_back"}
        else []
    )
