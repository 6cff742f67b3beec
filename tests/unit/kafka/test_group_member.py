"""What a member of a group makes of aiokafka's `getmany`, which may not return and must not be cancelled."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from service.kafka.consumer import GroupMember

ONE, OTHER = TopicPartition("raw", 1), TopicPartition("raw", 2)


class Consumer:
    """Gives what it is told to give, once it is told."""

    def __init__(self, *answers: Mapping[TopicPartition, Sequence[str]]) -> None:
        self.answers = list(answers)
        self.may_answer = asyncio.Event()
        self.asked: list[int] = []
        self.cancelled = 0

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[str]]:
        assert timeout_ms >= 0
        self.asked.append(max_records)
        try:
            await self.may_answer.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.answers.pop(0) if self.answers else {}


def member_of(consumer: Consumer) -> GroupMember:
    return GroupMember(cast(AIOKafkaConsumer, consumer), "raw")


async def test_a_poll_that_does_not_return_goes_on_and_its_records_come_with_a_later_fetch() -> None:
    consumer = Consumer({ONE: ["a"]})
    member = member_of(consumer)

    assert await member.fetch(timeout_s=0, gather_s=0, records_max=10) is None
    assert await member.fetch(timeout_s=0, gather_s=0, records_max=10) is None
    consumer.may_answer.set()

    assert await member.fetch(timeout_s=0, gather_s=0, records_max=10) == {1: ["a"]}
    assert (consumer.asked, consumer.cancelled) == ([10], 0)


async def test_what_becomes_readable_beside_the_first_records_comes_with_them() -> None:
    consumer = Consumer({ONE: ["a"]}, {ONE: ["b"], OTHER: ["c"]})
    consumer.may_answer.set()

    fetched = await member_of(consumer).fetch(timeout_s=1, gather_s=0.001, records_max=10)

    assert fetched == {1: ["a", "b"], 2: ["c"]}
    assert consumer.asked == [10, 9]


async def test_a_full_fetch_waits_for_no_more() -> None:
    consumer = Consumer({ONE: ["a", "b"]}, {OTHER: ["c"]})
    consumer.may_answer.set()

    assert await member_of(consumer).fetch(timeout_s=1, gather_s=60, records_max=2) == {1: ["a", "b"]}


async def test_a_member_that_is_thrown_away_leaves_no_poll_behind() -> None:
    consumer = Consumer()
    member = member_of(consumer)
    await member.fetch(timeout_s=0, gather_s=0, records_max=10)

    await member.stop_polling()

    assert consumer.cancelled == 1
