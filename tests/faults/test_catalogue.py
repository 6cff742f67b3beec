"""The list of faults is whole: a new crash point is in it by itself, and a pair is the seed's."""

from service.crashpoints import NAMES
from tests.faults.every.catalogue import SINGLE, faults, pair
from tests.faults.every.crashes import CRASHES, DEEDS, places


def test_every_crash_point_is_tried_with_every_deed() -> None:
    tried = {fault.name for fault in CRASHES}
    of_commands = {name for name in NAMES if name.partition(".")[0] in {"replay", "export"}}

    assert {place.partition("/")[0] for place in places()} == set(NAMES) - of_commands
    assert tried == {f"{place}:{deed}" for place in places() for deed in DEEDS}


def test_a_relay_is_tried_at_both_logs() -> None:
    of_relays = {place for place in places() if place.startswith("relay.")}

    assert of_relays == {
        f"{name}/{log}" for name in NAMES if name.startswith("relay.") for log in ("deliveries", "events")
    }


def test_no_two_faults_share_a_name() -> None:
    names = [fault.name for fault in faults(seed=1)]

    assert len(set(names)) == len(names)
    assert len(names) > len(SINGLE)


def test_a_seed_gives_the_same_pairs_again_and_another_seed_others() -> None:
    assert [pair(number, 5).detail for number in range(1, 6)] == [
        pair(number, 5).detail for number in range(1, 6)
    ]
    assert {pair(number, 5).detail for number in range(1, 6)} != {
        pair(number, 6).detail for number in range(1, 6)
    }
