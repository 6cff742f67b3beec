"""Reading a delivery against its row, and the version of the fold."""

import gc
import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec.structs import fields

from projections.facts import Fact, Payer, Reading, Unreadable
from projections.fold import (
    FOLD_VERSION,
    PARSED_AHEAD,
    STATE_NAMES_BYTES,
    Root,
    TooLargeError,
    check_size,
    fold_version,
    interpret,
    interpret_each,
    states_of,
)
from projections.timeline import Timeline, UnknownMemberError
from tests.deliveries import admin_payment
from tests.facts import ORDER, delivery, empty_root, fact
from tests.strategies import ONE_ROOT

READING = Reading()
BODY = admin_payment("o-1", "APPROVED").body


def test_a_delivery_of_its_rows_root_is_read() -> None:
    read = interpret(delivery(1, body=BODY), READING)

    assert (read.root, read.status) == (ORDER, "paid")


def test_a_delivery_that_names_another_root_than_its_row_is_unreadable_for_ever() -> None:
    elsewhere = delivery(1, root="shop:order:o-2", body=BODY)

    for retrying in (False, True):
        with pytest.raises(Unreadable, match="root: "):
            interpret(elsewhere, READING, retrying=retrying)


def test_a_row_without_a_root_is_folded_by_retry_alone() -> None:
    rootless = delivery(1, root=None, body=BODY)

    with pytest.raises(Unreadable, match="root: "):
        interpret(rootless, READING)

    assert interpret(rootless, READING, retrying=True).root == ORDER


def test_each_of_many_is_read_as_it_is_alone() -> None:
    good = delivery(1, body=BODY)
    bad = [
        delivery(2, body=b"{"),
        delivery(3, body=b"[]"),
        delivery(4, body=b"null"),
        delivery(5, body=b'{"type":"\xff"}'),
        delivery(6, provider="nobody", body=BODY),
        delivery(7, root="shop:order:o-2", body=BODY),
        delivery(8, root=None, body=BODY),
    ]
    many = [good, *bad, *[good] * PARSED_AHEAD, *bad, good]

    read = interpret_each(many, READING)

    assert len(read) == len(many)
    for one, told in zip(many, read, strict=True):
        if isinstance(told, Fact):
            assert told == interpret(one, READING)
            continue
        with pytest.raises(Unreadable) as alone:
            interpret(one, READING)
        assert isinstance(told, Unreadable)
        assert told.reason == alone.value.reason
    assert [one for one, told in zip(many, read, strict=True) if isinstance(told, Fact)] == [good] * (
        PARSED_AHEAD + 2
    )


def test_what_cannot_be_read_holds_on_to_nothing() -> None:
    bad = [delivery(1, body=b"{"), delivery(2, body=b"[]"), delivery(3, root="shop:order:o-2", body=BODY)]
    gc.collect()

    for one in bad:
        interpret_each([one], READING)

    assert gc.collect() == 0


def test_no_reason_names_a_root() -> None:
    with pytest.raises(Unreadable) as raised:
        interpret(delivery(1, root="shop:order:o-2", body=BODY), READING)

    assert "o-1" not in raised.value.reason
    assert "o-2" not in raised.value.reason


def test_a_root_without_facts_has_no_states() -> None:
    root = empty_root()

    assert (root.facts, root.states.order, root.states.disputes) == (0, None, ())


def test_a_repeat_leaves_the_root_itself() -> None:
    root = empty_root().join(fact("paid", 1))

    assert root.join(fact("paid", 1)) is root


def test_a_stored_root_has_the_states_that_it_had() -> None:
    root = empty_root().join(fact("paid", 1)).join(fact("charged_back", 2))

    assert Root.decode(ORDER, root.encode()) == root


def test_the_fold_version_changes_with_every_setting_that_is_read() -> None:
    versions = {
        fold_version(reading)
        for reading in (
            Reading(),
            Reading(barte_zone="UTC"),
            Reading(payer_key=b""),
            Reading(payer_key=b"one"),
            Reading(payer_key=b"two"),
        )
    }

    assert len(versions) == 5
    assert fold_version(Reading()) == fold_version(Reading())


def test_the_fold_version_does_not_show_the_key() -> None:
    version = fold_version(Reading(payer_key=b"correct horse battery"))

    assert version.startswith("1-")
    assert len(version) == len("1-") + 12
    assert "correct" not in version


def test_a_limit_of_a_root_is_no_part_of_the_fold_version() -> None:
    assert fold_version(Reading(facts_max=1, state_bytes_max=1)) == fold_version(Reading())


def _refuse_oversized(root: Root, **limits: Any) -> None:
    check_size(root.timeline, root.encode(), root.states, Reading(**limits))


def test_a_root_may_have_as_many_facts_as_the_limit_says() -> None:
    root = empty_root().join(fact("pending", 1)).join(fact("paid", 2))
    _refuse_oversized(root, facts_max=2)

    with pytest.raises(TooLargeError, match=r"fold\.facts_max"):
        _refuse_oversized(root.join(fact("refunded", 3)), facts_max=2)


def test_a_state_may_have_as_many_bytes_as_the_limit_says() -> None:
    root = empty_root().join(fact("paid", 1, reference="r" * 5_000))
    size = len(msgspec.json.encode(root.states.order))
    _refuse_oversized(root, state_bytes_max=size)

    with pytest.raises(TooLargeError, match=r"fold\.state_bytes_max"):
        _refuse_oversized(root, state_bytes_max=size - 1)


def test_the_facts_of_a_root_may_have_four_kilobytes_each_on_average() -> None:
    root = empty_root()
    for second in range(3):
        root = root.join(fact("paid", second, reference="r" * 5_000))

    with pytest.raises(TooLargeError, match="its facts have"):
        _refuse_oversized(root, facts_max=3, state_bytes_max=10_000)


@given(ONE_ROOT)
def test_no_state_has_more_bytes_than_the_facts_that_it_derives_from(facts: list[Fact]) -> None:
    timeline = Timeline.of(facts[0].root, facts)
    states = states_of(timeline)

    own = (states.order, states.subscription, states.withdrawal, states.cart, *states.disputes)
    for state in own:
        if state is not None:
            assert len(msgspec.json.encode(state)) <= len(timeline.encode()) + STATE_NAMES_BYTES


STORED_MEMBERS = {1: "08957340757d61ea"}
"""Fold version → digest of the members that are stored with a root. Never change an entry: add one."""


def test_another_member_of_a_stored_fact_raises_the_fold_version() -> None:
    """An older release would drop a member that it does not know, silently, when it writes the root again."""
    members = [
        (struct.__name__, [(field.name, str(field.type), field.default) for field in fields(struct)])
        for struct in (Fact, Payer)
    ]
    digest = hashlib.sha256(repr(members).encode()).hexdigest()[:16]

    assert STORED_MEMBERS[FOLD_VERSION] == digest, "raise FOLD_VERSION and add its digest here"


def test_a_stored_fact_with_a_member_that_this_release_does_not_know_is_refused() -> None:
    root = empty_root().join(fact("paid", 1, payer=Payer(document="d")))
    (stored,) = msgspec.json.decode(root.encode())
    newer = [stored | {"installments": 3}]
    newer_inside = [stored | {"payer": {"document": "d", "country": "BR"}}]

    for document in (newer, newer_inside):
        with pytest.raises(UnknownMemberError):
            Root.decode(ORDER, msgspec.json.encode(document))


def test_a_damaged_timeline_is_not_taken_for_a_newer_release() -> None:
    for document in (b"[", b'[{"root": 3}]'):
        with pytest.raises(msgspec.DecodeError):
            Root.decode(ORDER, document)
