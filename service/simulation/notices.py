"""What the providers' lives are made of: notices, ids of a run, people who do not exist.

Pure: the same birth gives the same ids and people. All data are fictitious; addresses of mail are
under example.com, which nobody owns.
"""

import datetime as dt
from collections.abc import Iterator, Sequence
from itertools import accumulate
from random import Random
from typing import Final, Generic, NamedTuple, TypeVar

SECOND: Final = 1_000_000_000
"""In nanoseconds."""
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_EPOCH: Final = dt.datetime(1970, 1, 1)  # noqa: DTZ001  Texts without an offset are made from it.
_GIVEN_NAMES: Final = ("Ana", "Bruno", "Carla", "Davi", "Elisa", "Fabio", "Gina", "Hugo", "Iara", "Joel")
_LIVES_OF_A_PERSON: Final = 3


class Notice(NamedTuple):
    """One thing that a provider tells."""

    instant: int
    """When it happened by the provider's word, nanoseconds since the epoch."""
    body: bytes
    kind: str | None = None
    """The marker in the registered URL, `?kind=withdraw`."""


Life = Iterator[Notice]
"""All that a provider tells of one order, subscription, withdrawal or cart, in the order of happening."""


class Person(NamedTuple):
    """A payer."""

    name: str
    email: str
    document: str
    """Eleven digits."""
    phone: str


class Birth(NamedTuple):
    """Where a life begins. Its number is its own within the run, so its ids are."""

    run: int
    """32 bits that no other run has."""
    number: int
    instant: int

    def uuid(self, role: int) -> str:
        """The id of what plays `role` in this life."""
        return f"{self.run:08x}-{role:04x}-4000-8000-{self.number:012x}"

    def name(self, prefix: str) -> str:
        """An id as providers without uuids have it, such as `pay_…`."""
        return f"{prefix}{self.run:08x}{self.number:08d}"

    @property
    def person(self) -> Person:
        """Who pays; some lives share one."""
        return person(self.number // _LIVES_OF_A_PERSON)


def person(number: int) -> Person:
    """The person of that number."""
    given = _GIVEN_NAMES[number % len(_GIVEN_NAMES)]
    return Person(
        name=f"{given} Exemplo",
        email=f"{given.lower()}.{number}@example.com",
        document=f"{number % 100_000_000_000:011}",
        phone=f"+55119{number % 100_000_000:08}",
    )


_T = TypeVar("_T")


class Weighted(Generic[_T]):
    """A table of choices that are drawn by weight."""

    def __init__(self, *table: tuple[int, _T]) -> None:
        self._choices: Sequence[_T] = [choice for _, choice in table]
        self._weights = list(accumulate(weight for weight, _ in table))

    def draw(self, rng: Random) -> _T:
        return rng.choices(self._choices, cum_weights=self._weights)[0]


def seconds_text(instant: int) -> str:
    """`2025-11-03T13:02:10`, cut to the second, without a zone."""
    return (_EPOCH + dt.timedelta(seconds=instant // SECOND)).isoformat()
