"""Fold one bucket of facts into states, and copy them into the shadow schema.

Timelines, states and the record of the bucket are one transaction. A root whose fold raises, or whose
rows Postgres refuses, is parked from the delivery on that makes it so; the rest flows.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from projections.fold import TooLargeError, check_size, states_of
from projections.timeline import Timeline
from service.crashpoints import crashpoint
from service.errors import TransientError
from service.kafka.partitioner import partition_of, partitions_of
from service.postgres import Connection, statement
from service.readmodels import bulk, store
from service.readmodels.apply import DATA_ERRORS, place_of
from service.readmodels.store import FoldedRoot
from service.replay.gathering import Gathered, gather, segments_of
from service.replay.jobs import Bucket, Done, Task
from service.replay.spill import Arrival, Segment, Spill

_SQL: Final = Path(__file__).parent


class BucketFolder:
    """Folds buckets, one at a time."""

    def __init__(self, task: Task, writer: Connection, spill: Spill) -> None:
        self._goal = task.goal
        self._writer = writer
        self._spill = spill
        self._segments: list[Segment] | None = None

    async def fold(self, bucket: Bucket) -> Done:
        """Fold `bucket`, and record it."""
        if self._segments is None:
            self._segments = await segments_of(self._writer)
        gathered = gather(self._spill, self._segments, bucket.number)
        counts = Counter[str]()
        async with self._writer.transaction():
            await self._store(self._folded(gathered), gathered, counts)
            crashpoint("replay.bucket_written")
            await self._writer.execute(
                statement(_SQL, "record_bucket"), bucket.number, msgspec.json.encode(counts).decode()
            )
        crashpoint("replay.bucket_folded")
        return Done(bucket.number, counts)

    def _folded(self, gathered: Mapping[str, Gathered]) -> list[FoldedRoot | str]:
        """Each root folded; of one whose fold raises, its name."""
        folded: list[FoldedRoot | str] = []
        partitions = partitions_of(list(gathered))
        for (root, found), partition in zip(gathered.items(), partitions, strict=True):
            try:
                row = self._row(Timeline.of_distinct(root, found.facts.values()), partition)
            except Exception:  # noqa: BLE001  Any fault of one root's fold: the others go on.
                folded.append(root)
                continue
            if row is not None:
                folded.append(row)
        return folded

    def _row(self, timeline: Timeline, partition: int) -> FoldedRoot | None:
        """The root with `timeline`; null where nothing of it had happened by then. Raises TooLargeError."""
        if self._goal.effective_at is not None:
            timeline = timeline.until(self._goal.effective_at)
        if not timeline.entries:
            return None
        document, states = timeline.encode(), states_of(timeline)
        check_size(timeline, document, states, self._goal.reading)
        return FoldedRoot(
            root=timeline.root,
            partition=partition,
            facts=len(timeline.entries),
            timeline=document,
            states=states,
        )

    async def _store(
        self, folded: list[FoldedRoot | str], gathered: Mapping[str, Gathered], counts: Counter[str]
    ) -> None:
        refused = [one for one in folded if isinstance(one, str)]
        rows = [one for one in folded if not isinstance(one, str)]
        counts["roots"] += len(rows)
        refused += await self._copy(rows)
        for root in refused:
            counts["parked"] += 1
            await self._park(root, gathered[root].arrivals)

    async def _copy(self, folded: list[FoldedRoot]) -> list[str]:
        """Write `folded`; those that Postgres refuses, found by halving, come back to be parked."""
        try:
            async with self._writer.transaction():
                await bulk.copy(self._writer, self._goal.schema, folded)
            return []
        except DATA_ERRORS:
            if len(folded) == 1:
                return [folded[0].root]
        middle = len(folded) // 2
        return await self._copy(folded[:middle]) + await self._copy(folded[middle:])

    async def _park(self, root: str, arrivals: list[Arrival]) -> None:
        """Keep the deliveries of `root` that fold, in log order, and set aside the rest.

        Bisects, so that a root of many thousand facts costs a dozen tries. The rest begins with the first
        delivery that does not fold, wherever none after that one folds either.
        """
        reason, _ = await self._try(root, arrivals)
        if not reason:  # It depends on more than the facts; the next comparison shows it.
            raise TransientError(f"{root} was refused once and then taken: run the same command again")
        kept, folds, fails = None, 0, len(arrivals)
        while fails - folds > 1:
            middle = (folds + fails) // 2
            why, row = await self._try(root, arrivals[:middle])
            if why:
                reason, fails = why, middle
            else:
                kept, folds = row, middle
        if kept is not None:
            await bulk.copy(self._writer, self._goal.schema, [kept])
        await store.park(
            self._writer,
            root=root,
            log=self._goal.log,
            partition=partition_of(root),
            positions=[position for position, _ in arrivals[folds:]],
            reason=reason,
        )

    async def _try(self, root: str, arrivals: list[Arrival]) -> tuple[str, FoldedRoot | None]:
        """Why `arrivals` cannot be kept, empty if they can; and the row."""
        try:
            row = self._row(Timeline.of(root, [fact for _, fact in arrivals]), partition_of(root))
        except TooLargeError as error:
            return str(error), None
        except Exception as error:  # noqa: BLE001  As the projector takes it.
            return f"its fold failed: {place_of(error)}", None
        if row is None:
            return "", None
        trial = self._writer.transaction()
        await trial.start()
        try:
            await bulk.copy(self._writer, self._goal.schema, [row])
        except DATA_ERRORS as error:
            return f"Postgres refuses its rows ({error.sqlstate})", None
        finally:
            await trial.rollback()
        return "", row
