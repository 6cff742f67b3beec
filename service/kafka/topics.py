"""The topics: which there are, and with which settings. `administration.py` makes and checks them."""

from dataclasses import dataclass, field

from projections.delivery import PARTITIONS

RECORD_BYTES_MAX = 2 * 1024 * 1024
"""Of one batch. A body of exactly 1 MiB with its headers exceeds Kafka's default."""

RAW = "webhooks.raw"
QUARANTINE = "webhooks.quarantine"
SPILL = "webhooks.spill"
CHECKPOINT = "relay.checkpoint"

DOMAIN = ("orders", "disputes", "subscriptions", "withdrawals", "carts")
STATE = tuple(f"{topic}.state" for topic in DOMAIN)

EVENT_TOPICS = (*DOMAIN, *STATE, QUARANTINE)
"""Where the event log goes."""

_WEEK_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic as Recibo needs it."""

    name: str
    partitions: int = PARTITIONS
    configs: dict[str, str] = field(default_factory=dict)

    @property
    def compacted(self) -> bool:
        return self.configs.get("cleanup.policy") == "compact"


def _deleted_after(ms: int, **more: str) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(ms), **more}


TOPICS: tuple[Topic, ...] = (
    Topic(name=RAW, configs=_deleted_after(_WEEK_MS, **{"max.message.bytes": str(RECORD_BYTES_MAX)})),
    *(Topic(name=name, configs=_deleted_after(4 * _WEEK_MS)) for name in DOMAIN),
    *(Topic(name=name, configs={"cleanup.policy": "compact"}) for name in STATE),
    Topic(name=QUARANTINE, configs=_deleted_after(4 * _WEEK_MS)),
    # The lifeboat: never expires, is on disk before it is acknowledged, and takes a record whatever the
    # clock of its writer says.
    Topic(
        name=SPILL,
        configs=_deleted_after(
            -1,
            **{
                "max.message.bytes": str(RECORD_BYTES_MAX),
                "flush.messages": "1",
                "message.timestamp.type": "LogAppendTime",
            },
        ),
    ),
    Topic(
        name=CHECKPOINT,
        partitions=2,
        configs={"cleanup.policy": "compact", "segment.bytes": str(16 * 1024 * 1024)},
    ),
)


def is_compacted(name: str) -> bool:
    """Whether records of the topic carry no `prev`: compaction breaks the chain by design."""
    return name in STATE
