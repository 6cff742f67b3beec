"""Reading a delivery against its row, and the version of the fold."""

import gc

import pytest

from projections.facts import Fact, Reading, Unreadable
from projections.fold import PARSED_AHEAD, Root, fold_version, interpret, interpret_each
from tests.deliveries import admin_payment
from tests.facts import ORDER, delivery, empty_root, fact

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
