"""What is told of a topic is what breaks a promise: no more than that, and nothing that would do harm."""

import pytest

from service.kafka.differences import Found, differences
from service.kafka.topics import SPILL, TOPICS, Topic

RAW, SPILLED = TOPICS[0], next(topic for topic in TOPICS if topic.name == SPILL)


def told(topic: Topic, changes: dict[str, str], *, replicas: int = 3) -> set[str]:
    """The settings that are told where three replicas are wanted and `replicas` are there."""
    configs = topic.configs | {"min.insync.replicas": "2"} | changes
    found = Found(partitions=12, replicas=replicas, configs=configs)
    return {each.setting for each in differences(topic, "p.topic", found, replicas=3)}


@pytest.mark.parametrize(
    ("setting", "breaks", "does"),
    [
        ("cleanup.policy", ["compact", "compact,delete"], ["delete"]),
        ("flush.messages", ["2", "9223372036854775807"], ["1"]),
        ("max.message.bytes", ["1048588", "0"], ["2097152", "9000000"]),
        ("message.timestamp.type", ["CreateTime"], ["LogAppendTime"]),
        ("message.timestamp.after.max.ms", ["3600000"], ["9223372036854775807"]),
        ("message.timestamp.before.max.ms", ["3600000"], ["9223372036854775807"]),
        ("retention.bytes", ["1073741824"], ["-1"]),
        ("retention.ms", ["604800000", "unknown"], ["-1"]),
        ("unclean.leader.election.enable", ["true"], ["false"]),
        ("min.insync.replicas", ["1", "3", "unknown"], ["2"]),
        # Nobody's promise.
        ("segment.ms", [], ["1"]),
        ("compression.type", [], ["zstd"]),
    ],
)
def test_a_setting_is_told_where_it_breaks_a_promise_and_only_there(
    setting: str, breaks: list[str], does: list[str]
) -> None:
    assert [told(SPILLED, {setting: value}) for value in breaks] == [{setting}] * len(breaks)
    assert [told(SPILLED, {setting: value}) for value in does] == [set()] * len(does)


def test_records_may_be_kept_longer_than_a_week() -> None:
    assert told(RAW, {"retention.ms": "604799999"}) == {"retention.ms"}
    assert told(RAW, {"retention.ms": "604800001"}) == told(RAW, {"retention.ms": "-1"}) == set()


def test_more_replicas_are_no_difference_and_fewer_are() -> None:
    assert told(RAW, {}, replicas=5) == told(RAW, {"min.insync.replicas": "4"}, replicas=5) == set()
    assert told(RAW, {"min.insync.replicas": "1"}, replicas=2) == {"replicas"}


def test_never_are_more_asked_to_be_in_sync_than_leave_one_free_to_be_away() -> None:
    (one, insync) = differences(
        RAW,
        "p.topic",
        Found(partitions=12, replicas=1, configs=RAW.configs | {"min.insync.replicas": "2"}),
        replicas=3,
    )

    assert (one.setting, one.can_be_altered) == ("replicas", False)
    assert (insync.setting, insync.wanted, insync.can_be_altered) == ("min.insync.replicas", "1", True)


def test_a_line_names_topic_and_setting_and_what_to_do_where_no_command_alters_it() -> None:
    configs = RAW.configs | {"min.insync.replicas": "1", "retention.ms": "5"}
    found = Found(partitions=3, replicas=1, configs=configs)

    partitions, replicas, retention = map(str, differences(RAW, "p.webhooks.raw", found, replicas=3))

    assert partitions.startswith("p.webhooks.raw: partitions is 3, wanted is 12 (roots would change places: ")
    assert replicas.startswith("p.webhooks.raw: replicas is 1, wanted is at least 3 (")
    assert "kafka-reassign-partitions.sh" in replicas
    assert retention == "p.webhooks.raw: retention.ms is 5, wanted is at least 604800000"
