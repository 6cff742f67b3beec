"""What of a topic differs from what a promise rests on. Pure.

A difference is what breaks a promise, not what is merely otherwise: records may be kept longer than wanted
and be larger, a topic may have more replicas. A setting that no promise rests on is the operator's own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.kafka.topics import Topic, insync_replicas

PARTITIONS: Final = "partitions"
REPLICAS: Final = "replicas"
INSYNC: Final = "min.insync.replicas"

_AT_LEAST: Final = frozenset(
    {
        "max.message.bytes",
        "message.timestamp.after.max.ms",
        "message.timestamp.before.max.ms",
        "retention.bytes",
        "retention.ms",
    }
)
_AT_MOST: Final = frozenset({"flush.messages", "segment.bytes"})

_REMEDIES: Final = {
    PARTITIONS: "roots would change places: use another prefix, or make the topic anew",
    REPLICAS: "Recibo does not move replicas: use kafka-reassign-partitions.sh",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A topic as Kafka has it."""

    partitions: int
    replicas: int
    """Of the partition that has the fewest."""
    configs: Mapping[str, str]
    """As they are in force, wherever they were set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One setting of one topic."""

    topic: str
    """With the prefix."""
    setting: str
    found: str
    wanted: str

    @property
    def can_be_altered(self) -> bool:
        """Whether `recibo topics --apply` alters it."""
        return self.setting not in _REMEDIES

    def __str__(self) -> str:
        """One line: which topic, which setting, what it is, what is wanted, and else what to do."""
        wanted = f"at least {self.wanted}" if self.setting in {*_AT_LEAST, REPLICAS} else self.wanted
        remedy = _REMEDIES.get(self.setting)
        line = f"{self.topic}: {self.setting} is {self.found}, wanted is {wanted}"
        return line if remedy is None else f"{line} ({remedy})"


def differences(topic: Topic, name: str, found: Found, *, replicas: int) -> Sequence[Difference]:
    """List what of the topic called `name` breaks a promise, where `replicas` are wanted."""
    told: list[tuple[str, str, str]] = []
    if found.partitions != topic.partitions:
        told.append((PARTITIONS, str(found.partitions), str(topic.partitions)))
    if found.replicas < replicas:
        told.append((REPLICAS, str(found.replicas), str(replicas)))
    told += [
        (setting, is_, wanted)
        for setting, wanted in sorted(topic.configs.items())
        if not _keeps(setting, is_ := found.configs.get(setting, "unknown"), wanted)
    ]
    # By the replicas that there are: more than those would have to be in sync before anything is taken.
    least = insync_replicas(min(found.replicas, replicas))
    insync = found.configs.get(INSYNC, "unknown")
    if not least <= _number(insync) <= insync_replicas(found.replicas):
        told.append((INSYNC, insync, str(least)))
    return [
        Difference(topic=name, setting=setting, found=is_, wanted=wanted) for setting, is_, wanted in told
    ]


def _keeps(setting: str, found: str, wanted: str) -> bool:
    """Whether `found` does for what `wanted` is wanted for."""
    if setting in _AT_LEAST:
        return _number(found) >= _number(wanted)
    if setting in _AT_MOST:
        return _number(found) <= _number(wanted)
    return found == wanted


def _number(text: str) -> float:
    """Kafka writes -1 for what has no limit."""
    if not text.lstrip("-").isdigit():
        return math.nan
    number = int(text)
    return math.inf if number < 0 else number
