"""What the log holds of one delivery, as far as meaning depends on it.

The relay carries these columns to Kafka and replay reads them from the log, so both drivers of the
fold see the same value. Nothing here depends on how the delivery travelled.
"""

import msgspec

PARTITIONS = 12
"""Partitions of every topic that is keyed by root. A root's partition is murmur2(root) modulo this."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `delivery_log`.

    Instants are integer nanoseconds since the epoch, UTC; the log keeps microseconds of them.
    """

    position: int
    source: str
    account: str
    provider: str
    root: str | None
    """`<account>:<kind>:<id>`, null where the ingress could not read one."""
    kind: str | None
    """The URL's marker, `?kind=withdraw`; null without one."""
    trust: str
    """The checks that the sender passed, joined by `+`; `none`; or `operator`."""
    received_at: int
    recorded_at: int
    body: bytes


def routing_key(root: str | None, position: int) -> str:
    """The Kafka key of a delivery: its stored root, or `?<position>` where it has none.

    Key and partition come from the stored row alone, whatever root a later adapter may read in it.
    """
    return f"?{position}" if root is None else root
