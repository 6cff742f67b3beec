"""Which records folding a root one fact at a time must yield."""

from zoneinfo import ZoneInfo

from tests.checker.events import Generation, folding, generation_at
from tests.checker.facts import Fact, Reading, Row
from tests.checker.naive import join
from tests.checker.reading import read
from tests.unit.checker.rows import admin, aprovei, barte, gen


def events(*rows: Row) -> list[tuple[str, str]]:
    """Version and ordinal, type; the state records left out."""
    return [
        (event_id, event_type) for event_id, event_type in records(*rows) if not event_type.endswith(".state")
    ]


def records(*rows: Row) -> list[tuple[str, str]]:
    """All of them, without the root."""
    reading = Reading(zone=ZoneInfo("America/Sao_Paulo"), payer_key=b"key")
    facts: dict[str, Fact] = {}
    root = ""
    for row in rows:
        fact = read(row, reading)
        join(facts, fact)
        root = fact.root
    return [
        (record.event_id.removeprefix(f"{root}@0001."), record.event_type)
        for record in folding(root, list(facts.values()), [1] * len(facts)).records
    ]


def test_a_change_of_status_is_named_after_it_and_a_repeat_gives_nothing() -> None:
    assert events(admin("PENDING", 1), admin("APPROVED", 2), admin("APPROVED", 2)) == [
        ("0000000001/0", "order.pending"),
        ("0000000002/0", "order.paid"),
    ]


def test_other_content_is_an_update() -> None:
    assert events(admin("PENDING", 1), admin("PENDING", 2, amount=5))[1:] == [
        ("0000000002/0", "order.updated")
    ]
    other = {"email": "other@example.com"}
    assert events(admin("PENDING", 1), admin("PENDING", 2, payer=other))[1:] == [
        ("0000000002/0", "order.updated")
    ]


def test_a_past_that_is_known_better_is_an_amendment() -> None:
    assert events(admin("APPROVED", 2), admin("PENDING", 1))[1:] == [("0000000002/0", "order.amended")]


def test_another_word_for_the_same_gives_no_event_but_a_state_record() -> None:
    assert records(barte("PAID", 1), barte("PAID_MANUALLY", 2)) == [
        ("0000000001/0", "order.paid"),
        ("0000000001/0/state", "order.state"),
        ("0000000002/0/state", "order.state"),
    ]


def test_disputes_have_their_ordinals_and_state_records_of_their_own() -> None:
    assert records(gen("p", "PAID", 1), gen("p", "DISPUTE", 2))[2:] == [
        ("0000000002/0", "order.disputed"),
        ("0000000002/0/state", "order.state"),
        ("0000000002/1", "dispute.open"),
        ("0000000002/1/state", "dispute.state"),
    ]


def test_a_dispute_that_is_ended_but_stays_is_amended() -> None:
    found = events(aprovei("chargeback", refunded=1), aprovei("approved", refunded=2))

    assert found[2:] == [("0000000002/0", "order.paid"), ("0000000002/1", "dispute.amended")]


def test_an_id_has_the_generation_after_whose_swap_its_delivery_was_folded() -> None:
    reading = Reading(zone=ZoneInfo("America/Sao_Paulo"), payer_key=b"key")
    facts = [read(row, reading) for row in (admin("PENDING", 1), admin("APPROVED", 2))]
    # Two swaps of equal states, then one of others.
    generations = [
        Generation(1, {}),
        Generation(1, {0: 4}),
        Generation(1, {0: 7}),
        Generation(2, {0: 9, 1: 20}),
    ]

    assert [generation_at(position, 0, generations) for position in (1, 9, 10)] == [1, 1, 2]
    assert [generation_at(position, 1, generations) for position in (10, 21)] == [1, 2]
    assert [
        record.event_id.rpartition("@")[2] for record in folding(facts[0].root, facts, [1, 2]).records
    ] == [
        "0001.0000000001/0",
        "0001.0000000001/0/state",
        "0002.0000000002/0",
        "0002.0000000002/0/state",
    ]
