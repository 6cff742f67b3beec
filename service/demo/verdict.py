"""Hold what came of the demo against its script: pure. Out: what did not happen, a line each."""

from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import NamedTuple

from service.demo.chapters import Chapter, State
from service.demo.found import Found
from service.simulation.mixing import Delivery
from service.simulation.sender import Answer


class Exchange(NamedTuple):
    """A delivery and its last answer."""

    delivery: Delivery
    answer: Answer

    @property
    def accepted(self) -> bool:
        return self.answer.status == HTTPStatus.OK and self.answer.receipt is not None

    @property
    def refused(self) -> bool:
        return self.answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def shortfalls(script: Sequence[Chapter], exchanges: Sequence[Exchange], found: Found) -> Sequence[str]:
    """What the script promises and did not happen, and what happened beside it; empty where all is well."""
    told = [chapter for chapter in script if chapter.root is not None]
    return [
        *_of_answers(exchanges),
        *_of_log(script, exchanges, found),
        *_of_quarantine(exchanges, found),
        *(line for chapter in told for line in _of_chapter(chapter, found)),
        *_of_recoveries(script, found),
        *_of_strangers({chapter.root for chapter in told}, found),
    ]


def _of_answers(exchanges: Iterable[Exchange]) -> Iterator[str]:
    for delivery, answer in exchanges:
        exchange = Exchange(delivery, answer)
        if delivery.mutation == "forged" and not exchange.refused:
            yield f"{delivery.source}: a forged secret was answered with {_words(answer)}"
        elif delivery.mutation != "forged" and not exchange.accepted:
            yield f"{delivery.source}: a delivery got no receipt but {_words(answer)}"


def _words(answer: Answer) -> str:
    return answer.error or str(answer.status)


def _of_log(script: Sequence[Chapter], exchanges: Sequence[Exchange], found: Found) -> Iterator[str]:
    receipts = {exchange.answer.receipt for exchange in exchanges if exchange.accepted}
    expected = len(receipts) + sum(chapter.decision is not None for chapter in script)
    if found.deliveries != expected:
        yield f"the log holds {found.deliveries} deliveries, not the {expected} that were received or decided"


def _of_quarantine(exchanges: Sequence[Exchange], found: Found) -> Iterator[str]:
    unknown = {answer.receipt for delivery, answer in exchanges if delivery.mutation == "unknown"}
    for name, reason in found.quarantined.items():
        if name not in unknown:
            yield f"{name} is in quarantine: {reason}"
    for missing in unknown - found.quarantined.keys():
        yield f"{missing} is unknown, and is not in quarantine"


def _of_chapter(chapter: Chapter, found: Found) -> Iterator[str]:
    aggregates = {one.ordinal: one for one in found.aggregates if one.root == chapter.root}
    facts = {one.facts for one in aggregates.values()}
    states = {ordinal: one.state for ordinal, one in aggregates.items()}
    expected = dict(enumerate([chapter.state, *chapter.disputes]))
    if states != expected:
        yield f"{chapter.root} is {_told(states.items())}, not {_told(expected.items())}"
    if facts != {chapter.facts}:
        yield f"{chapter.root} knows {_joined(sorted(facts))} facts, not {chapter.facts}"
    events = [(event.type, event.id) for event in found.events if event.root == chapter.root]
    promised = [(event.type, event.id_of(chapter.root or "")) for event in chapter.events]
    if events != promised:
        yield f"{chapter.root} was told as {_joined(events)}, not as {_joined(promised)}"


def _told(states: Iterable[tuple[int, State | None]]) -> str:
    return "; ".join(f"{ordinal or 'itself'}: {state}" for ordinal, state in sorted(states)) or "not there"


def _joined(things: Iterable[object]) -> str:
    return ", ".join(map(str, things)) or "none"


def _of_recoveries(script: Sequence[Chapter], found: Found) -> Iterator[str]:
    expected = {chapter.root: chapter.recovers for chapter in script if chapter.recovers is not None}
    if dict(found.recoveries) != expected:
        yield f"recovered carts by sale are {dict(found.recoveries)}, not {expected}"


def _of_strangers(roots: set[str | None], found: Found) -> Iterator[str]:
    for root in sorted({*found.roots, *(event.root for event in found.events)} - roots):
        yield f"{root} is there, and the script does not know it"
