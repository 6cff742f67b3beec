"""From key to partition: murmur2 modulo the partitions, in this one function.

The hash is the one of Kafka's own default partitioner, so any client agrees on where a root lives.
"""

import struct
from collections import defaultdict
from collections.abc import Sequence

from projections.delivery import PARTITIONS

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def partition_of(key: str) -> int:
    """The partition, 0 to 11, of a record whose partition key is `key` (a root, or `?<position>`)."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


def partitions_of(keys: Sequence[str]) -> list[int]:
    """`partition_of` of each of `keys`, at a sixth of the cost where they are thousands.

    The keys of one length are hashed side by side, each in 64 bits of one long integer: a product of 32 bits
    by 32 stays within its own, and Python's arithmetic goes over all of them in C.
    """
    partitions = [0] * len(keys)
    encoded = [key.encode() for key in keys]
    places: dict[int, list[int]] = defaultdict(list)
    for place, key in enumerate(encoded):
        places[len(key)].append(place)
    for length, those in places.items():
        hashes = _murmur2_side_by_side(b"".join([encoded[place] for place in those]), length, len(those))
        for place, value in zip(those, hashes, strict=True):
            partitions[place] = (value & 0x7FFFFFFF) % PARTITIONS
    return partitions


def _murmur2_side_by_side(data: bytes, length: int, count: int) -> Sequence[int]:
    """`murmur2` of each of the `count` keys of `length` bytes that `data` holds."""
    each = int.from_bytes(b"\1\0\0\0\0\0\0\0" * count, "little")
    mask = each * _MASK

    def words(first: int, size: int) -> int:
        lanes = bytearray(8 * count)
        for at in range(size):
            lanes[at::8] = data[first + at :: length]
        return int.from_bytes(lanes, "little")

    def shifted(lanes: int, bits: int) -> int:
        return lanes >> bits & each * (_MASK >> bits)

    value = each * (_SEED ^ length)
    for first in range(0, length - 3, 4):
        mixed = words(first, 4) * _M & mask
        value = (value * _M & mask) ^ ((mixed ^ shifted(mixed, 24)) * _M & mask)
    if rest := length & 3:
        value = (value ^ words(length - rest, rest)) * _M & mask
    value = (value ^ shifted(value, 13)) * _M & mask
    value ^= shifted(value, 15)
    return struct.unpack(f"<{count}Q", value.to_bytes(8 * count, "little"))


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, unsigned, with Kafka's seed (org.apache.kafka.common.utils.Utils.murmur2).

    aiokafka's own costs twice as much: it reads byte by byte.
    """
    length = len(data)
    value = _SEED ^ length
    for word in struct.unpack_from(f"<{length >> 2}I", data):
        mixed = (word * _M) & _MASK
        value = ((value * _M) & _MASK) ^ (((mixed ^ (mixed >> 24)) * _M) & _MASK)
    if rest := length & 3:
        value = ((value ^ int.from_bytes(data[-rest:], "little")) * _M) & _MASK
    value = ((value ^ (value >> 13)) * _M) & _MASK
    return value ^ (value >> 15)
