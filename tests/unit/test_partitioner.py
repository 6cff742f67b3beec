"""A key goes where Kafka's own partitioner puts it, alone as among others."""

from aiokafka.partitioner import murmur2 as aiokafkas
from hypothesis import example, given
from hypothesis import strategies as st

from projections.delivery import PARTITIONS
from service.kafka.partitioner import murmur2, partition_of, partitions_of

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)


@given(st.binary(max_size=70))
def test_the_hash_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == aiokafkas(data) & 0xFFFFFFFF


@given(st.lists(KEYS))
@example([])
@example(["", "a", "", "shop:order:1", "a"])
def test_many_keys_go_where_each_goes_alone(keys: list[str]) -> None:
    assert partitions_of(keys) == [partition_of(key) for key in keys]


@given(KEYS)
def test_a_partition_is_one_of_those_that_there_are(key: str) -> None:
    assert partition_of(key) == (aiokafkas(key.encode()) & 0x7FFFFFFF) % PARTITIONS
