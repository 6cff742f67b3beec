"""Read one strip of the log into segments of facts.

What cannot be read is quarantined in the shadow schema; what does not count yet is only noted. The
record of the strip is the commit: a crash before it leaves files that nobody knows of.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final

import msgspec

from projections.delivery import Delivery, routing_key
from projections.facts import Fact
from projections.fold import PARSED_AHEAD, interpret_each
from projections.providers import payers
from service.crashpoints import crashpoint
from service.errors import InvariantError
from service.eventlog import reader as log_reader
from service.kafka.headers import receipt
from service.kafka.partitioner import partition_of
from service.postgres import Connection, statement
from service.readmodels import store
from service.readmodels.apply import quarantined_of, reason_of
from service.readmodels.store import Quarantined
from service.replay.jobs import Done, Strip, Task
from service.replay.spill import Arrival, Segment, Sorter, Spill

_SQL: Final = Path(__file__).parent
_PAGE_ROWS: Final = 2_000
_PAGE_BYTES: Final = 8 * 1024 * 1024
_SEGMENT_FACTS: Final = 20_000
_SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Of the bodies whose facts wait in memory: these are hardly ever longer."""


class StripReader:
    """Reads strips, one at a time."""

    def __init__(self, task: Task, reader: Connection, writer: Connection, spill: Spill) -> None:
        self._task = task
        self._goal = task.goal
        self._reader = reader
        self._writer = writer
        self._spill = spill
        vector = task.vector
        self._floor = task.last_position if vector is None else min(vector.values(), default=0)

    async def read(self, strip: Strip) -> Done:
        """Read `strip`, and record it."""
        sorter, quarantined = Sorter(self._task.buckets), list[Quarantined]()
        taken_over: list[int] = []
        segments: list[Segment] = []
        skipped: dict[int, int] = {}
        counts = Counter[str]()
        body_bytes = 0
        if self._goal.purpose == "verify":
            await check_digests(self._reader, self._goal.log, *self._stretch(strip))
        async with aclosing(self._pages(strip)) as pages:
            async for page in pages:
                counts["rows"] += len(page)
                body_bytes += sum([len(delivery.body) for delivery in page])
                counting = self._counting(page, skipped)
                counts["facts"] += len(counting)
                arrivals = self._interpreted(counting, quarantined)
                for arrival in arrivals:
                    sorter.add(arrival[1].root, arrival)
                if self._goal.purpose == "verify":
                    taken_over += self._taken_over(counting, arrivals)
                if sorter.count >= _SEGMENT_FACTS or body_bytes >= _SEGMENT_BYTES:
                    segments.append(self._write(strip, len(segments), sorter))
                    body_bytes = 0
        if sorter.count:
            segments.append(self._write(strip, len(segments), sorter))
        payers.forget()
        counts["quarantined"] = len(quarantined)
        counts["facts"] -= len(quarantined)
        crashpoint("replay.spilled")
        await self._record(strip, counts, segments, skipped, quarantined=quarantined, taken_over=taken_over)
        return Done(strip.number, counts)

    def _interpreted(self, deliveries: Iterable[Delivery], quarantined: list[Quarantined]) -> list[Arrival]:
        """What `deliveries` say, in log order, once each; what cannot be read goes to `quarantined`."""
        arrivals: list[Arrival] = []
        said: dict[bytes, Delivery] = {}
        reading = self._goal.reading
        # One provider after the other, for the processor: the same code over and over costs it a seventh
        # less than four adapters in turn.
        ordered = sorted(deliveries, key=_provider)
        for start in range(0, len(ordered), PARSED_AHEAD):
            fresh: list[Delivery] = []
            for delivery in ordered[start : start + PARSED_AHEAD]:
                first = said.get(delivery.body)
                # Else sent again, byte for byte: no repeat dates a fact better than the one before it.
                if first is None or _told(first) != _told(delivery):
                    fresh.append(delivery)
            # A row without a root gets the one that is read in it today, as by a retry.
            for delivery, fact in zip(fresh, interpret_each(fresh, reading, retrying=True), strict=True):
                if isinstance(fact, Fact):
                    arrivals.append((delivery.position, fact))
                    said[delivery.body] = delivery
                else:
                    quarantined.append(quarantined_of(delivery, reason_of(fact)))
        arrivals.sort(key=_position)
        return arrivals

    def _taken_over(self, deliveries: Iterable[Delivery], arrivals: Iterable[Arrival]) -> list[int]:
        """The positions of those facts that the last swap took in: no event ever told them.

        A row without a root counts by the partition of its own position, where that stood at the swap,
        though the partition of the root that is read in it today was not as far.
        """
        assert self._task.since is not None
        stood = self._task.since.positions
        rootless = {
            delivery.position
            for delivery in deliveries
            if delivery.root is None
            and delivery.position <= stood.get(partition_of(routing_key(None, delivery.position)), 0)
        }
        return [
            position
            for position, fact in arrivals
            if position in rootless and position > stood.get(partition_of(fact.root), 0)
        ]

    async def _pages(self, strip: Strip) -> AsyncGenerator[list[Delivery], None]:
        """The deliveries of the strip, densely. Raises InvariantError where one is missing.

        Postgres gathers the next page while this one is interpreted.
        """
        after, end = self._stretch(strip)
        coming = self._page(after, end)
        try:
            while after < end:
                page = await coming
                log_reader.require_dense(page, after)
                after = page[-1].position
                if after < end:
                    coming = self._page(after, end)
                    await asyncio.sleep(0)  # It asks now, and not once this page is done with.
                yield page
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _page(self, after: int, end: int) -> asyncio.Task[list[Delivery]]:
        return asyncio.ensure_future(
            log_reader.between(
                self._reader, after=after, up_to=end, rows_max=_PAGE_ROWS, bytes_max=_PAGE_BYTES
            )
        )

    def _stretch(self, strip: Strip) -> tuple[int, int]:
        after = strip.number * self._task.strip_rows
        return after, min(after + self._task.strip_rows, self._task.last_position)

    def _counting(self, page: list[Delivery], skipped: dict[int, int]) -> list[Delivery]:
        """Those of `page` that count; of the others, the first position of each partition to `skipped`."""
        vector = self._task.vector
        if vector is None or page[-1].position <= self._floor:
            return page
        counting: list[Delivery] = []
        for delivery in page:
            if delivery.position > self._floor:
                partition = partition_of(routing_key(delivery.root, delivery.position))
                if delivery.position > vector.get(partition, 0):
                    skipped.setdefault(partition, delivery.position)
                    continue
            counting.append(delivery)
        return counting

    def _write(self, strip: Strip, number: int, sorter: Sorter) -> Segment:
        return self._spill.write(f"{strip.number:08}-{number:04}", sorter.drain())

    async def _record(
        self,
        strip: Strip,
        counts: Mapping[str, int],
        segments: list[Segment],
        skipped: Mapping[int, int],
        *,
        quarantined: list[Quarantined],
        taken_over: list[int],
    ) -> None:
        async with self._writer.transaction():
            await store.quarantine(self._writer, self._goal.log, quarantined)
            if taken_over:
                await self._writer.execute(statement(_SQL, "record_taken_over"), taken_over)
            await self._writer.execute(
                statement(_SQL, "record_strip"),
                strip.number,
                *(msgspec.json.encode(each).decode() for each in (counts, segments, skipped)),
            )


async def check_digests(reader: Connection, log: str, after: int, up_to: int) -> None:
    """Raise InvariantError unless each body after position `after` up to `up_to` is what its digest says."""
    damaged = await reader.fetchval(statement(_SQL, "damaged_delivery"), after, up_to)
    if damaged is not None:
        raise InvariantError(
            f"the body of {receipt(log, damaged)} is not what its sha256 says: the log is "
            "damaged; stop, and restore it from a backup"
        )


_provider: Final = attrgetter("provider")
_position: Final = itemgetter(0)
_told: Final = attrgetter("provider", "account", "kind", "root")
"""All that a fact derives from besides the body, and the log's instant for one that carries no date."""
