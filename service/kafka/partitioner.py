"""From key to partition: murmur2 modulo the partitions, in this one function.

The hash is the one of Kafka's own default partitioner, so any client agrees on where a root lives.
"""

import struct

from projections.delivery import PARTITIONS

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def partition_of(key: str) -> int:
    """The partition, 0 to 11, of a record whose partition key is `key` (a root, or `?<position>`)."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % PARTITIONS


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
