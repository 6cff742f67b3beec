"""What goes wrong on the way: repeats, late arrivals, forged secrets, words that nobody knows.

In: endless streams of notices, and the share of each fault. Out: one stream, each delivery marked with
what was done to it. Pure: the same generator gives the same faults.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Literal, NamedTuple

from service.simulation.notices import Notice

Mutation = Literal["none", "duplicate", "late", "forged", "unknown"]


class Delivery(NamedTuple):
    """One delivery, as it is to be sent."""

    source: str
    body: bytes
    kind: str | None
    """The marker in the URL, `?kind=withdraw`."""
    instant: int
    """When what it tells happened, nanoseconds since the epoch."""
    mutation: Mutation


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Shares, each from 0 to 1."""

    duplicates: float = 0.0
    """Of genuine deliveries, that come a second time."""
    reordered: float = 0.0
    """Of genuine deliveries, that come later than what was sent after them."""
    forged: float = 0.0
    """Of all first sendings."""
    unknown: float = 0.0
    """Of all first sendings."""
    window: int = 50
    """By how many deliveries at most a repeat or a late one comes later."""

    def faults(self) -> list[str]:
        """What is wrong with the shares themselves, in words; empty where nothing is."""
        shares = {name: getattr(self, name) for name in ("duplicates", "reordered", "forged", "unknown")}
        wrong = [f"{name} takes a share from 0 to 1" for name, share in shares.items() if not 0 <= share <= 1]
        if not wrong and self.forged + self.unknown > 1:
            wrong.append("forged and unknown together take at most 1")
        return wrong


def mix(
    rng: Random,
    mixture: Mixture,
    *,
    genuine: Iterator[tuple[str, Notice]],
    forged: Iterator[tuple[str, Notice]],
    unknown: Iterator[tuple[str, Notice]],
) -> Iterator[Delivery]:
    """The three streams as one, in the shares of `mixture`; ends when one that is drawn from does."""
    held: list[tuple[int, int, Delivery]] = []
    for step in count():
        if held and held[0][0] <= step:
            yield heappop(held)[2]
            continue
        draw = rng.random()
        if draw < mixture.forged:
            yield _delivery(next(forged), "forged")
        elif draw < mixture.forged + mixture.unknown:
            yield _delivery(next(unknown), "unknown")
        else:
            told = next(genuine)
            if rng.random() < mixture.duplicates:
                heappush(held, (_later(rng, step, mixture), 2 * step, _delivery(told, "duplicate")))
            if rng.random() < mixture.reordered:
                heappush(held, (_later(rng, step, mixture), 2 * step + 1, _delivery(told, "late")))
            else:
                yield _delivery(told, "none")


def _later(rng: Random, step: int, mixture: Mixture) -> int:
    return step + 1 + rng.randrange(mixture.window)


def _delivery(told: tuple[str, Notice], mutation: Mutation) -> Delivery:
    source, notice = told
    return Delivery(source, notice.body, notice.kind, notice.instant, mutation)
