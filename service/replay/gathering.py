"""A bucket's facts from all segments, by root: what is in memory at a time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from projections.facts import Fact
from projections.timeline import dates_better
from service.postgres import Connection, statement
from service.replay.spill import Arrival, Segment, Spill

_SQL: Final = Path(__file__).parent


class Gathered(msgspec.Struct, gc=False):
    """What the log says of one root."""

    facts: dict[str, Fact]
    """By identity; of repeats the one that dates it best."""
    arrivals: list[Arrival]
    """Those that changed the timeline when they came, in log order."""


def gather(spill: Spill, segments: Sequence[Segment], bucket: int) -> dict[str, Gathered]:
    """The facts of a bucket by root. Repeats are dropped as they come: they take no memory."""
    gathered: dict[str, Gathered] = {}
    for arrivals in spill.arrivals(segments, bucket):
        for arrival in arrivals:
            fact = arrival[1]
            root = gathered.get(fact.root)
            if root is None:
                root = gathered[fact.root] = Gathered({}, [])
            known = root.facts.get(fact.identity)
            if known is None or dates_better(fact, known):
                root.facts[fact.identity] = fact
                root.arrivals.append(arrival)
    return gathered


async def segments_of(connection: Connection) -> list[Segment]:
    """All segments that the shadow schema knows of, in log order."""
    rows = await connection.fetch(statement(_SQL, "read_strips"))
    return [segment for row in rows for segment in msgspec.json.decode(row["segments"], type=list[Segment])]
