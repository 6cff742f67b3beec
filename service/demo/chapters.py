"""What a chapter of the demo is: deliveries about one root, and what must come of them. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from projections.events import version_text
from service.simulation.mixing import Delivery, Mutation
from service.simulation.notices import Notice

GENERATION: Final = 1
"""Of a fresh database."""

MONDAY: Final = 1_762_174_800_000_000_000
"""2025-11-03T13:00:00Z."""


@dataclass(frozen=True, slots=True)
class Event:
    """A domain event that must be read back from Kafka, once."""

    type: str
    facts: int
    """The distinct facts its root had then: the second half of the version."""
    n: int = 0
    """0 for the root's own aggregate, the ordinal for a dispute."""

    def id_of(self, root: str) -> str:
        """Its `ce_id`, as the event of `root`."""
        return f"{root}@{version_text(GENERATION, self.facts)}/{self.n}"


@dataclass(frozen=True, slots=True)
class State:
    """What an aggregate must be in the end. A dispute has no amounts and no flags."""

    status: str
    cents: int | None = None
    refunded_cents: int | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One root's story."""

    title: str
    root: str | None = None
    """Null where nothing may come of it."""
    deliveries: Sequence[Delivery]
    state: State | None = None
    disputes: Sequence[State] = ()
    """By ordinal."""
    events: Sequence[Event] = ()
    """In order."""
    facts: int = 0
    """Distinct ones in the end, an operator's decision among them."""
    decision: Literal["lost", "closed"] | None = None
    """What an operator says in the end of the order's dispute."""
    recovers: str | None = None
    """The root of the cart that this sale recovers."""


def sent(source: str, notice: Notice, mutation: Mutation = "none") -> Delivery:
    """`notice` on its way to `source`."""
    return Delivery(source, notice.body, notice.kind, notice.instant, mutation)
