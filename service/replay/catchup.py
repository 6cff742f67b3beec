"""Bring a rebuilt schema to where the live states stand, delivery by delivery.

Never beyond: a row counts as live when its position is at or below that of its root's partition. Each
page is one transaction with the note of how far each partition is, so a crash repeats a page.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from projections.delivery import Delivery, routing_key
from service.crashpoints import crashpoint
from service.eventlog import reader as log_reader
from service.kafka.partitioner import partition_of
from service.postgres import Connection, statement
from service.readmodels.apply import Folder
from service.replay.goal import Goal
from service.replay.reading import check_digests

_SQL: Final = Path(__file__).parent
_PAGE_ROWS: Final = 1_000
_PAGE_BYTES: Final = 4 * 1024 * 1024


class Followed(NamedTuple):
    """How far the live states had gone ahead."""

    looked_at: int
    """Positions: more than were folded where one partition is behind the others."""
    folded: int


@dataclass(slots=True)
class _Place:
    """How far one partition is."""

    reached: int
    """All of its rows up to here are folded, and known."""
    folded: int
    """None after here is folded."""


async def _go_on() -> None:
    pass


class CatchUp:
    """Folds what the live states gained."""

    def __init__(
        self, *, goal: Goal, reader: Connection, writer: "asyncpg.Connection[asyncpg.Record]"
    ) -> None:
        self._goal = goal
        self._reader = reader
        self._writer = writer
        self._folder = Folder(log=goal.log, reading=goal.reading, silent=True)

    async def to(
        self,
        vector: Mapping[int, int],
        told: Callable[[int, int], None] = lambda _done, _total: None,
        *,
        before_page: Callable[[], Awaitable[None]] = _go_on,
    ) -> Followed:
        """Fold every row at or below `vector`, and none above it; await `before_page` before each page.

        Raises InvariantError where the log is damaged, as reading it does.
        """
        places = {
            row["partition"]: _Place(row["reached"], row["folded"])
            for row in await self._writer.fetch(statement(_SQL, "read_places"))
        }
        behind = [at for at, place in places.items() if vector[at] > place.reached]
        if not behind:
            return Followed(0, 0)
        folded = 0
        after = first = min(places[at].reached for at in behind)
        end = max(vector[at] for at in behind)
        while after < end:
            await before_page()
            page = await log_reader.between(
                self._reader, after=after, up_to=end, rows_max=_PAGE_ROWS, bytes_max=_PAGE_BYTES
            )
            log_reader.require_dense(page, after)
            up_to = page[-1].position
            if self._goal.purpose == "verify":
                await check_digests(self._reader, self._goal.log, after, up_to)
            live = _live(page, places, vector, after=after, up_to=up_to)
            await self._fold(live, places)
            after, folded = up_to, folded + len(live)
            told(after - first, end - first)
        return Followed(end - first, folded)

    async def _fold(self, deliveries: list[Delivery], places: Mapping[int, _Place]) -> None:
        async with self._writer.transaction():
            # The generation is in events alone, and none are told.
            applied = await self._folder.apply(self._writer, deliveries, generation=1, retrying=True)
            await self._writer.execute(statement(_SQL, "touch"), applied.roots)
            await self._writer.execute(
                statement(_SQL, "write_places"),
                list(places),
                [place.reached for place in places.values()],
                [place.folded for place in places.values()],
            )
        crashpoint("replay.caught_up")


def _live(
    page: list[Delivery],
    places: Mapping[int, _Place],
    vector: Mapping[int, int],
    *,
    after: int,
    up_to: int,
) -> list[Delivery]:
    """What of `page`, which follows position `after`, is to be folded; `places` move on."""
    known = {at for at, place in places.items() if place.reached >= after}
    live: list[Delivery] = []
    for delivery in page:
        at = partition_of(routing_key(delivery.root, delivery.position))
        place = places[at]
        if at not in known or delivery.position <= place.reached:
            continue
        if delivery.position > vector[at]:
            place.reached = delivery.position - 1
            known.discard(at)
        else:
            place.reached = place.folded = delivery.position
            live.append(delivery)
    for at in known:
        places[at].reached = max(places[at].reached, up_to)
    return live
