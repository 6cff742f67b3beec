"""An endless stream of deliveries as the four providers would send them: pure, the same for a seed.

In: a seed, the sources to send to, how much goes wrong. Out: deliveries, endlessly, lives interleaved
and each life in its own order until mixing disturbs it. Some 10 µs each, for benchmarks and fault
suites draw from it too.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Final

from service.simulation import admin, aprovei, barte, gen
from service.simulation.mixing import Delivery, Mixture, mix
from service.simulation.notices import MINUTE, Birth, Life, Notice

_BEGINNING: Final = 1_762_160_400_000_000_000
"""2025-11-03T09:00:00Z. Not the present: the same seed gives the same bytes tomorrow."""

_BETWEEN_BIRTHS: Final = MINUTE
_OPEN_LIVES: Final = 32
"""Lives under way at a time, that is how many other lives stand between two notices of one."""

_LIVES: Final[Mapping[str, Callable[[Random, Birth], Life]]] = {
    "admin": admin.life,
    "aprovei": aprovei.life,
    "barte": barte.life,
    "gen": gen.life,
}
_UNKNOWN: Final[Mapping[str, Callable[[Birth], Notice]]] = {
    "admin": admin.unknown,
    "aprovei": aprovei.unknown,
    "barte": barte.unknown,
    "gen": gen.unknown,
}


def deliveries(
    seed: int,
    sources: Sequence[tuple[str, str]],
    mixture: Mixture,
    *,
    forgeable: frozenset[str] | None = None,
) -> Iterator[Delivery]:
    """Deliveries to `sources`, pairs of name and provider; no end.

    Ids are the seed's own: two runs with different seeds share no root. What is forged is of lives of
    its own, so that no body of a forged delivery is also a genuine one; it goes to `forgeable`
    sources only (default all).
    """
    can_be_forged = [pair for pair in sources if forgeable is None or pair[0] in forgeable]
    return mix(
        _random(f"{seed}/mixing"),
        mixture,
        genuine=_interleaved(f"{seed}/genuine", sources),
        forged=_interleaved(f"{seed}/forged", can_be_forged),
        unknown=_unknown(f"{seed}/unknown", sources),
    )


def _interleaved(seed: str, sources: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Notice]]:
    rng = _random(seed)
    births = _births(seed)

    def born() -> tuple[str, Life]:
        name, provider = rng.choice(sources)
        return name, _LIVES[provider](rng, next(births))

    if not sources:
        return
    lives = [born() for _ in range(_OPEN_LIVES)]
    while True:
        index = int(rng.random() * _OPEN_LIVES)
        source, life = lives[index]
        notice = next(life, None)
        if notice is None:
            lives[index] = born()
        else:
            yield source, notice


def _unknown(seed: str, sources: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Notice]]:
    rng = _random(seed)
    for birth in _births(seed):
        name, provider = rng.choice(sources)
        yield name, _UNKNOWN[provider](birth)


def _births(seed: str) -> Iterator[Birth]:
    run = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big")
    number = 0
    while True:
        number += 1
        yield Birth(run, number, _BEGINNING + number * _BETWEEN_BIRTHS)


def _random(seed: str) -> Random:
    return Random(seed)  # noqa: S311  It is to be guessable: the same seed, the same deliveries.
