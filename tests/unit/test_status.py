"""Status: what waits is counted, and what cannot be told is not guessed."""

from service.kafka import topics
from service.kafka.checkpoint import Checkpoint
from service.status import Status, Store

STORE = Store(deliveries=9, events=4, quarantined=0, parked=0, folded={0: 9}, drained={0: 5, 1: 2})
PUBLISHED = {
    "deliveries": Checkpoint(position=9, mark=None, last={topics.RAW: {0: 9}}),
    "events": Checkpoint(position=4, mark=None, last={}),
}


def test_what_was_spilled_and_not_drained_is_counted_over_all_partitions() -> None:
    found = Status(store=STORE, published=PUBLISHED, spilled={0: 7, 1: 2, 2: 1})

    assert found.to_drain() == 3
    assert not found.settled


def test_a_drained_spill_is_settled() -> None:
    assert Status(store=STORE, published=PUBLISHED, spilled={0: 5, 1: 2}).settled


def test_with_a_server_away_nothing_is_guessed() -> None:
    assert Status(store=None, published=PUBLISHED, spilled={0: 7}).to_drain() is None
    assert Status(store=STORE, published=None).to_drain() is None
