"""The stream of made-up deliveries: the same for a seed, other ids for another, faults in their shares."""

from collections import Counter
from itertools import islice

import orjson
import pytest

from service.simulation.mixing import Delivery, Mixture
from service.simulation.scenarios import deliveries

SOURCES = [("a", "admin"), ("p", "aprovei"), ("b", "barte"), ("g", "gen")]
UNDISTURBED = Mixture()
DISTURBED = Mixture(duplicates=0.2, reordered=0.2, forged=0.1, unknown=0.1, window=20)


def drawn(count: int, *, seed: int = 1, mixture: Mixture = UNDISTURBED) -> list[Delivery]:
    return list(islice(deliveries(seed, SOURCES, mixture), count))


def of(stream: list[Delivery], *mutations: str) -> list[Delivery]:
    return [delivery for delivery in stream if delivery.mutation in mutations]


def test_the_same_seed_gives_the_same_deliveries_byte_for_byte() -> None:
    first = drawn(2_000, mixture=DISTURBED)
    second = drawn(2_000, mixture=DISTURBED)

    assert first == second


def test_two_seeds_share_no_body() -> None:
    first = {delivery.body for delivery in drawn(2_000, seed=1, mixture=DISTURBED)}
    second = {delivery.body for delivery in drawn(2_000, seed=2, mixture=DISTURBED)}

    assert first.isdisjoint(second)


def test_every_source_gets_its_own_provider_s_payloads() -> None:
    marks = {"a": "updated_at", "p": "customer", "b": "dateTime", "g": "event"}

    for delivery in drawn(1_000, mixture=DISTURBED):
        assert marks[delivery.source] in orjson.loads(delivery.body)


def test_a_life_is_told_in_the_order_in_which_it_happened() -> None:
    instants: dict[str, int] = {}

    for delivery in drawn(5_000):
        root = life_of(delivery)
        assert delivery.instant >= instants.get(root, 0), root
        instants[root] = delivery.instant


def test_carts_and_withdrawals_come_to_the_urls_that_are_marked_for_them() -> None:
    kinds = Counter((delivery.source, delivery.kind) for delivery in drawn(2_000))

    assert set(kinds) == {
        ("a", None),
        ("a", "withdraw"),
        ("p", None),
        ("p", "default"),
        ("b", None),
        ("g", None),
    }


def test_some_carts_are_followed_by_a_sale_of_the_same_payer_and_product_and_some_are_not() -> None:
    carts: set[tuple[str, str]] = set()
    sales: set[tuple[str, str]] = set()
    for delivery in drawn(5_000):
        if delivery.source == "p":
            told = orjson.loads(delivery.body)
            buyer = told["customer"]["email"], told["products"][0]["code"]
            (carts if "cart_token" in told else sales).add(buyer)

    assert carts & sales
    assert carts - sales


def test_faults_come_in_their_shares() -> None:
    stream = drawn(20_000, mixture=DISTURBED)

    counts = Counter(delivery.mutation for delivery in stream)
    firsts = counts["none"] + counts["late"] + counts["forged"] + counts["unknown"]
    assert counts["forged"] / firsts == pytest.approx(0.1, abs=0.02)
    assert counts["unknown"] / firsts == pytest.approx(0.1, abs=0.02)
    assert counts["late"] / (counts["none"] + counts["late"]) == pytest.approx(0.2, abs=0.02)
    assert counts["duplicate"] / (counts["none"] + counts["late"]) == pytest.approx(0.2, abs=0.02)


def test_without_faults_none_is_made() -> None:
    assert {delivery.mutation for delivery in drawn(1_000)} == {"none"}


def test_no_genuine_body_is_ever_forged() -> None:
    stream = drawn(10_000, mixture=DISTURBED)

    genuine = {delivery.body for delivery in of(stream, "none", "late", "duplicate", "unknown")}
    assert genuine.isdisjoint(delivery.body for delivery in of(stream, "forged"))


def test_a_late_delivery_comes_after_later_ones_of_its_own_life() -> None:
    overtaken = set()
    latest: dict[str, int] = {}
    for delivery in drawn(10_000, mixture=Mixture(reordered=0.3, window=300)):
        root = life_of(delivery)
        if delivery.instant < latest.get(root, 0):
            overtaken.add(delivery.mutation)
        latest[root] = max(latest.get(root, 0), delivery.instant)

    assert "late" in overtaken


def test_only_sources_that_check_a_secret_are_forged() -> None:
    stream = deliveries(1, SOURCES, Mixture(forged=0.5), forgeable=frozenset({"b"}))

    forged = of(list(islice(stream, 1_000)), "forged")
    assert {delivery.source for delivery in forged} == {"b"}


def test_a_faulty_mixture_says_what_is_wrong() -> None:
    assert Mixture(duplicates=1.5, unknown=-0.1).faults() == [
        "duplicates takes a share from 0 to 1",
        "unknown takes a share from 0 to 1",
    ]
    assert Mixture(forged=0.6, unknown=0.6).faults() == ["forged and unknown together take at most 1"]
    assert DISTURBED.faults() == []


def life_of(delivery: Delivery) -> str:
    told = orjson.loads(delivery.body)
    told = told.get("data", told)
    # Gen's payments and orders share the number at the end of their ids.
    ids = (told.get(name) for name in ("uuid", "cart_token", "transaction_token", "invoiceId", "id"))
    found = next(str(value) for value in ids if value)
    return found[-12:] + found[:8] if delivery.source == "g" else found
