"""Hold the ids in the outbox against those that the log yields, root by root.

Since the last swap, folding a root's deliveries in log order has told of each change with an id that
anybody can compute. In: the outbox's ids, sorted into buckets beside the facts. Out: the roots that have
others, noted in the shadow schema. What a retry folded out of order is excused by whoever reads the notes.
"""

from collections.abc import Collection
from itertools import zip_longest
from pathlib import Path
from typing import Final

from projections.delivery import Delivery
from projections.events import outgoing
from projections.fold import Root, states_of
from projections.timeline import Timeline
from service.eventlog.reader import holes
from service.kafka import topics
from service.kafka.headers import position_in
from service.kafka.partitioner import partition_of
from service.postgres import Connection, statement
from service.replay.gathering import Gathered, gather, segments_of
from service.replay.jobs import Done, EventStrip, Ids, Since, Task
from service.replay.spill import Arrival, Segment, Sorter, Spill

_SQL: Final = Path(__file__).parent
_PAGE_ROWS: Final = 5_000


class IdCheck:
    """Reads strips of the outbox, then compares buckets."""

    def __init__(self, task: Task, reader: Connection, writer: Connection, spill: Spill) -> None:
        self._task = task
        self._reader = reader
        self._writer = writer
        self._spill = spill
        self._segments: list[Segment] | None = None
        self._taken_over: frozenset[int] = frozenset()

    async def read(self, strip: EventStrip) -> Done:
        """Read a strip of the outbox, and record it."""
        since = self._since
        first = since.event_position + strip.number * self._task.strip_rows
        end = min(first + self._task.strip_rows, since.event_end)
        sorter, after, quarantined = Sorter(self._task.buckets), first, list[int]()
        while after < end:
            rows = await self._reader.fetch(statement(_SQL, "events_after"), after, end, _PAGE_ROWS)
            if not rows or rows[-1]["position"] != after + len(rows):
                raise holes("event log", after)
            for row in rows:
                if row["topic"] == topics.QUARANTINE:
                    quarantined.append(position_in(row["event_id"]))
                else:
                    root = row["partition_key"]
                    sorter.add(root, (row["position"], root, row["event_id"]))
            after = rows[-1]["position"]
        events = sorter.count
        segment = self._spill.write(f"events-{strip.number:08}", sorter.drain())
        async with self._writer.transaction():
            await self._writer.execute(statement(_SQL, "record_told"), quarantined)
            await self._writer.execute(
                statement(_SQL, "record_event_strip"), strip.number, segment.name, segment.size
            )
        return Done(strip.number, {"rows": end - first, "events": events})

    async def check(self, ids: Ids) -> Done:
        """Compare the ids of one bucket."""
        if self._segments is None:
            self._segments = await segments_of(self._writer)
            taken_over = await self._writer.fetch(statement(_SQL, "read_taken_over"))
            self._taken_over = frozenset(row["position"] for row in taken_over)
        rows = await self._writer.fetch(statement(_SQL, "read_event_strips"))
        segments = [Segment(row["name"], row["size"]) for row in rows]
        named: dict[str, list[str]] = {}
        for page in self._spill.named(segments, ids.number):
            for _, root, event_id in page:
                named.setdefault(root, []).append(event_id)
        gathered = gather(self._spill, self._segments, ids.number)
        wrong = [
            (root, *parting)
            for root in gathered.keys() | named.keys()
            if (parting := self._parting(root, gathered.get(root), named.get(root, []))) is not None
        ]
        await self._writer.executemany(statement(_SQL, "record_misnamed"), wrong)
        return Done(ids.number, {"misnamed": len(wrong)})

    def _parting(
        self, root: str, gathered: Gathered | None, found: list[str]
    ) -> tuple[str | None, str | None] | None:
        """The first id that the log yields otherwise, and what stands there; null where all are the same."""
        try:
            arrivals = [] if gathered is None else gathered.arrivals
            expected = ids_of(root, arrivals, self._since, self._task.goal.log, self._taken_over)
        except Exception:  # noqa: BLE001  A root whose fold raises is parked, and so excused.
            return "", ""
        return next((pair for pair in zip_longest(expected, found) if pair[0] != pair[1]), None)

    @property
    def _since(self) -> Since:
        assert self._task.since is not None
        return self._task.since


def ids_of(
    root: str, arrivals: list[Arrival], since: Since, log: str, taken_over: Collection[int] = ()
) -> list[str]:
    """The ids that folding the root's arrivals, in log order, has given since the last swap.

    That took in what its partition stood at, and the positions `taken_over`.
    """
    swapped = since.positions.get(partition_of(root), 0)
    base = Timeline.of(
        root, [fact for position, fact in arrivals if position <= swapped or position in taken_over]
    )
    folded, ids = Root(base, states_of(base)), list[str]()
    for position, fact in arrivals:
        if position > swapped and position not in taken_over:
            after = folded.join(fact)
            ids += [
                event.id
                for event in outgoing(
                    folded,
                    after,
                    fact=fact,
                    delivery=_cause(root, position),
                    log=log,
                    generation=since.generation,
                )
            ]
            folded = after
    return ids


def _cause(root: str, position: int) -> Delivery:
    """As much of a delivery as an id can depend on."""
    return Delivery(
        position=position,
        source="",
        account="",
        provider="",
        root=root,
        kind=None,
        trust="",
        received_at=0,
        recorded_at=0,
        body=b"",
    )
