"""What the log says of a few roots, delivery by delivery, as today's code reads it.

The log has no index by root, so this reads a stretch of the log's rows, in short pages.
"""

from collections.abc import AsyncIterator, Collection, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from projections.delivery import Delivery
from projections.facts import Fact, Reading, Unreadable
from projections.fold import interpret
from projections.timeline import Timeline, dates_better
from service.eventlog import reader as log_reader
from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent
_STRETCH: Final = 50_000
_PAGE_ROWS: Final = 200


class Told(NamedTuple):
    """A fact and the delivery that told it first, or dated it better than those before."""

    position: int
    recorded_at: int
    """Nanoseconds since the epoch."""
    fact: Fact


async def told_of(
    connection: Connection, roots: Collection[str], *, up_to: int, reading: Reading
) -> dict[str, list[Told]]:
    """What the log up to `up_to` tells of each of `roots`, in log order, without repeats that change nothing.

    What cannot be read is in the quarantine, not here.
    """
    told: dict[str, list[Told]] = {root: [] for root in roots}
    known: dict[tuple[str, str], Fact] = {}
    async for delivery in _deliveries(connection, roots, up_to):
        try:
            fact = interpret(delivery, reading, retrying=True)
        except Unreadable:
            continue
        except Exception:  # noqa: BLE001, S112  An adapter's fault: the delivery is in the quarantine.
            continue
        earlier = known.get((fact.root, fact.identity))
        if fact.root in told and (earlier is None or dates_better(fact, earlier)):
            known[fact.root, fact.identity] = fact
            told[fact.root].append(Told(delivery.position, delivery.recorded_at, fact))
    return told


def timeline_of(
    root: str, told: Iterable[Told], *, position: int | None, effective_at: int | None
) -> Timeline:
    """What was known of `root` at the log position `position`, of what had happened by `effective_at`."""
    timeline = Timeline.of(root, [one.fact for one in told if position is None or one.position <= position])
    return timeline if effective_at is None else timeline.until(effective_at)


async def _deliveries(connection: Connection, roots: Collection[str], up_to: int) -> AsyncIterator[Delivery]:
    after = 0
    while after < up_to:
        end = min(after + _STRETCH, up_to)
        rows = await connection.fetch(
            statement(_SQL, "deliveries_of_roots"), after, end, list(roots), _PAGE_ROWS
        )
        for row in rows:
            yield log_reader.delivery_of(row)
        after = rows[-1]["position"] if len(rows) == _PAGE_ROWS else end
