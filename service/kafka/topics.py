"""The topics: which there are, and with which settings. `administration.py` makes, compares and alters them.

A setting stands here if a promise rests on it. Each is made explicit on each topic: a broker's own default is
another one, or becomes another one.
"""

from dataclasses import dataclass, field

from projections.delivery import PARTITIONS

RECORD_BYTES_MAX = 2 * 1024 * 1024
"""Of one batch, on every topic. A body of exactly 1 MiB with its headers exceeds Kafka's default, and so does
an event that carries a long reference."""

RAW = "webhooks.raw"
QUARANTINE = "webhooks.quarantine"
SPILL = "webhooks.spill"
CHECKPOINT = "relay.checkpoint"

DOMAIN = ("orders", "disputes", "subscriptions", "withdrawals", "carts")
STATE = tuple(f"{topic}.state" for topic in DOMAIN)

EVENT_TOPICS = (*DOMAIN, *STATE, QUARANTINE)
"""Where the event log goes."""

_WEEK_MS = 7 * 24 * 3600 * 1000
_UNBOUNDED = str(2**63 - 1)

_EVERYWHERE = {
    "max.message.bytes": str(RECORD_BYTES_MAX),
    # A leader that lacks acknowledged records would take them from everybody.
    "unclean.leader.election.enable": "false",
    # A record's timestamp is the log's recorded_at. By default a broker whose clock is an hour behind
    # Postgres's refuses it, and all behind it would wait; one that bounds the past refuses what waited long.
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": _UNBOUNDED,
    "message.timestamp.before.max.ms": _UNBOUNDED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic as Recibo needs it."""

    name: str
    partitions: int = PARTITIONS
    configs: dict[str, str] = field(default_factory=dict)
    """All but min.insync.replicas, which follows from the number of replicas."""


def _deleted_after(ms: int, **more: str) -> dict[str, str]:
    return {
        **_EVERYWHERE,
        "cleanup.policy": "delete",
        "retention.ms": str(ms),
        # By age alone: a limit of size would delete earlier.
        "retention.bytes": "-1",
        **more,
    }


def _compacted(**more: str) -> dict[str, str]:
    return {**_EVERYWHERE, "cleanup.policy": "compact", **more}


TOPICS: tuple[Topic, ...] = (
    Topic(name=RAW, configs=_deleted_after(_WEEK_MS)),
    *(Topic(name=name, configs=_deleted_after(4 * _WEEK_MS)) for name in DOMAIN),
    *(Topic(name=name, configs=_compacted()) for name in STATE),
    Topic(name=QUARANTINE, configs=_deleted_after(4 * _WEEK_MS)),
    # The lifeboat: never expires, is on disk before it is acknowledged, and takes a record whatever the
    # clock of its writer says.
    Topic(
        name=SPILL,
        configs=_deleted_after(-1, **{"flush.messages": "1", "message.timestamp.type": "LogAppendTime"}),
    ),
    Topic(
        name=CHECKPOINT,
        partitions=2,
        configs=_compacted(**{"segment.bytes": str(16 * 1024 * 1024)}),
    ),
)


def insync_replicas(replicas: int) -> int:
    """How many must have a record before it is acknowledged: all but one, so that one may be away."""
    return max(1, replicas - 1)


def is_compacted(name: str) -> bool:
    """Whether records of the topic carry no `prev`: compaction breaks the chain by design."""
    return name in STATE
