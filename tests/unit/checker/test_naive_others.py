"""The naive fold of subscriptions, withdrawals and carts."""

import hashlib

from tests.unit.checker.rows import admin, at, barte, row, states

CART = {
    "cart_token": "CART1",
    "checkout_url": "https://example.com/c/1?who=iara#top",
    "products": [
        {"code": "SKU-1", "amount": 100, "quantity": 1},
        {"code": "SKU-2", "amount": 4500, "quantity": 2},
    ],
    "customer": {"email": "Iara@Example.com"},
    "date_created": "2025-11-03T13:00:00Z",
}


def test_a_subscription_goes_round_and_is_flagged_when_it_comes_back() -> None:
    told = [("PENDING", 1), ("ACTIVE", 2), ("DEFAULTER", 3), ("SUSPENDED", 4), ("ACTIVE", 5)]

    (state,) = states([barte(word, seconds, domain="SUBSCRIPTION") for word, seconds in told])[
        "subscription_state"
    ]

    assert (state["status"], state["subscription_id"]) == ("active", "b")
    assert state["flags"] == [{"name": "reactivated", "occurred_at": at(5)}]
    assert [entry["status"] for entry in state["history"]] == [  # type: ignore[attr-defined]
        "pending",
        "active",
        "past_due",
        "inactive",
        "active",
    ]


def test_a_withdrawal_that_bounces_is_flagged() -> None:
    rows = [admin("APPROVED", 1, type="WITHDRAW"), admin("REJECTED", 2, type="WITHDRAW")]

    (state,) = states(rows)["withdrawal_state"]

    assert (state["status"], state["amount_cents"], state["currency"]) == ("rejected", 1000, "BRL")
    assert state["flags"] == [{"name": "decision_reversed", "occurred_at": at(2)}]


def test_the_urls_marker_makes_it_a_withdrawal() -> None:
    told = row("admin", {"id": "a", "status": "PENDING"}, "shop:withdrawal:a", kind="withdraw")

    assert states([told])["withdrawal_state"][0]["status"] == "pending"


def test_a_cart_has_its_worth_and_an_address_without_its_query() -> None:
    (state,) = states([row("aprovei", CART, "shop:cart:CART1")])["cart_state"]

    assert state["amount_cents"] == 9100
    assert state["products"] == ["SKU-1", "SKU-2"]
    assert state["recovery_url"] == "https://example.com/c/1"
    assert (state["status"], state["abandoned_at"]) == ("abandoned", at(0))


def test_a_cart_without_an_id_has_one_worked_out() -> None:
    nameless = {name: value for name, value in CART.items() if name != "cart_token"}
    digest = hashlib.sha256(b"iara@example.com|SKU-1,SKU-2|2025-11-03").hexdigest()[:32]

    (state,) = states([row("aprovei", nameless, f"shop:cart:{digest}")])["cart_state"]

    assert state["cart_id"] == digest
