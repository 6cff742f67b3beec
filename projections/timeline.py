"""The timeline of a root: its distinct facts, in the one order in which they are folded.

Joining is set union, so neither the order of arrival nor repetition matters. A fact takes its place
by when it occurred, whenever it arrives (design.md, Meaning, 2 and 3).
"""

from bisect import insort
from collections.abc import Iterable
from typing import Final, Self

import msgspec

from projections.facts import Fact


class UnknownMemberError(Exception):
    """A stored fact has a member that this release does not know: to write it again would drop the member."""


class Timeline(msgspec.Struct, frozen=True, gc=False):
    """The distinct facts of one root, sorted."""

    root: str
    entries: tuple[Fact, ...] = ()

    @classmethod
    def of(cls, root: str, facts: Iterable[Fact]) -> Self:
        """The timeline of `facts`, repeats and all: what joining them one by one gives, at once."""
        known: dict[str, Fact] = {}
        for fact in facts:
            other = known.setdefault(fact.identity, fact)
            if other is not fact and _date_rank(fact) < _date_rank(other):
                known[fact.identity] = fact
        return cls.of_distinct(root, known.values())

    @classmethod
    def of_distinct(cls, root: str, facts: Iterable[Fact]) -> Self:
        """The timeline of `facts`, of which no two have one identity."""
        return cls(root, tuple(sorted(facts, key=sort_key)))

    def join(self, fact: Fact) -> Self:
        """The timeline with `fact`; itself where that changes nothing."""
        known = self._known(fact.identity)
        if known is not None and not dates_better(fact, known):
            return self
        entries = [entry for entry in self.entries if entry is not known]
        insort(entries, fact, key=sort_key)
        return type(self)(self.root, tuple(entries))

    def until(self, instant: int) -> Self:
        """What of it had happened by `instant`, nanoseconds since the epoch."""
        return type(self)(self.root, tuple(fact for fact in self.entries if fact.occurred_at <= instant))

    def encode(self) -> bytes:
        """What is stored of the root: a JSON array of the facts, sorted. Everything else derives from it."""
        return _encoder.encode(self.entries)

    @classmethod
    def decode(cls, root: str, document: bytes | None) -> Self:
        """Return what `encode` gave; null is a root without any fact yet.

        Raises UnknownMemberError where a newer release wrote it, msgspec.DecodeError where it is damaged.
        """
        if document is None:
            return cls(root)
        try:
            return cls(root, _decoder.decode(document))
        except msgspec.ValidationError as error:
            if _UNKNOWN_MEMBER in str(error):
                raise UnknownMemberError(str(error)) from None
            raise

    def _known(self, identity: str) -> Fact | None:
        for entry in self.entries:
            if entry.identity == identity:
                return entry
        return None


def sort_key(fact: Fact) -> tuple[int, int, int, str]:
    """Where a fact stands in its root's timeline."""
    return fact.occurred_at, fact.precedence, fact.refunded_cents or 0, fact.identity


def dates_better(fact: Fact, known: Fact) -> bool:
    """Whether `fact`, a repeat of `known`, takes its place."""
    return _date_rank(fact) < _date_rank(known)


def _date_rank(fact: Fact) -> tuple[bool, int, str]:
    # Of repeats the earliest date counts, and one that the sender gave counts before the log's. Not only
    # an undated fact comes with several: Gen's may be the envelope's, which no identity covers.
    text = fact.occurred_text
    return text is None, fact.occurred_at, text or ""


_UNKNOWN_MEMBER: Final = "contains unknown field"
"""msgspec's own words: it has one exception for all that a document does not fit in."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[Fact, ...])
