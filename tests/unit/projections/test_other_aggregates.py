"""Subscriptions, withdrawals and carts."""

import pytest

from projections.facts import Payer
from projections.states import CartState, SubscriptionState, WithdrawalState
from tests.facts import at, fact, told


def subscription(*words: str) -> SubscriptionState:
    facts = [fact(word, second, kind="subscription") for second, word in enumerate(words)]
    state = told(*facts).subscription
    assert state is not None
    return state


def withdrawal(*words: str) -> WithdrawalState:
    facts = [fact(word, second, kind="withdrawal", amount_cents=500) for second, word in enumerate(words)]
    state = told(*facts).withdrawal
    assert state is not None
    return state


@pytest.mark.parametrize(
    ("words", "status", "flagged"),
    [
        (["pending"], "pending", []),
        (["pending", "active", "past_due", "active"], "active", []),
        (["active", "inactive"], "inactive", []),
        (["inactive"], "inactive", []),
        (["active", "inactive", "active"], "active", ["reactivated"]),
        (["inactive", "past_due", "inactive", "pending"], "pending", ["reactivated", "reactivated"]),
    ],
)
def test_leaving_inactive_reactivates_a_subscription(
    words: list[str], status: str, flagged: list[str]
) -> None:
    state = subscription(*words)

    assert state.status == status
    assert [flag.name for flag in state.flags] == flagged
    assert (state.root, state.subscription_id) == ("shop:subscription:o-1", "o-1")


@pytest.mark.parametrize(
    ("words", "status", "flagged"),
    [
        (["pending", "approved"], "approved", []),
        (["pending", "rejected"], "rejected", []),
        (["approved", "rejected"], "rejected", ["decision_reversed"]),
        (["rejected", "approved"], "approved", ["decision_reversed"]),
        (["approved", "pending", "rejected"], "rejected", ["decision_reversed"]),
        (["approved", "rejected", "approved"], "approved", ["decision_reversed", "decision_reversed"]),
        (["approved", "approved"], "approved", []),
    ],
)
def test_a_withdrawal_decided_otherwise_is_flagged(words: list[str], status: str, flagged: list[str]) -> None:
    state = withdrawal(*words)

    assert (state.status, state.amount_cents, state.currency) == (status, 500, "BRL")
    assert [flag.name for flag in state.flags] == flagged


def test_a_withdrawal_rejected_and_approved_within_one_second_ends_rejected() -> None:
    state = told(fact("rejected", 1, kind="withdrawal"), fact("approved", 1, kind="withdrawal")).withdrawal

    assert state is not None
    assert state.status == "rejected"


def test_a_cart_is_abandoned_since_its_first_fact() -> None:
    payer = Payer(email="e" * 32)

    cart = told(
        fact("abandoned", 2, kind="cart", products=("A", "B"), amount_cents=900),
        fact("abandoned", 1, kind="cart", products=("A",), payer=payer, recovery_url="https://example.com/c"),
    ).cart

    assert isinstance(cart, CartState)
    assert (cart.status, cart.abandoned_at) == ("abandoned", at(1))
    assert (cart.products, cart.amount_cents, cart.payer) == (("A", "B"), 900, payer)
    assert cart.recovery_url == "https://example.com/c"
