"""Group commit: deliveries that arrive while a batch is being kept share the next one.

In: rows, one at a time, from many requests. Out: where each is, once it is durable. One batch
is under way at a time and no timer waits for company: load alone makes the batches. The queue is
bounded in rows and bytes. A crash loses what waits here, and none of that was answered.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from service import telemetry
from service.errors import TransientError
from service.eventlog.deliveries import NewDelivery
from service.ingress.lifeboat import Stored
from service.settings import IngressSettings

log = structlog.get_logger()

Keep = Callable[[Sequence[NewDelivery]], Awaitable[Sequence[Stored]]]
"""Makes rows durable, in order: Lifeboat.keep."""

_ROW_OVERHEAD_BYTES: Final = 512
"""About what a row costs beside its body and headers, so that empty-handed floods are bounded too."""


class QueueFull(TransientError):
    """More deliveries wait than may; the sender is told to come back."""


class _Waiting(NamedTuple):
    row: NewDelivery
    size: int
    stored: asyncio.Future[Stored]


class GroupCommit:
    """Keeps deliveries in batches, one batch at a time, in order of arrival."""

    def __init__(self, keep: Keep, settings: IngressSettings) -> None:
        self._keep = keep
        self._settings = settings
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._flushing: asyncio.Task[None] | None = None

    def health(self) -> Mapping[str, object]:
        """How many deliveries wait."""
        return {"queued_rows": len(self._queue), "queued_bytes": self._queued_bytes}

    async def append(self, row: NewDelivery) -> Stored:
        """Where `row` is, once it is durable. A caller that is cancelled does not take it back.

        Raises QueueFull at once; TransientError where no store can take it: it may be in one all the
        same only after `ingress.outcome_unknown`.
        """
        size = _ROW_OVERHEAD_BYTES + len(row.body) + len(row.headers)
        if (
            len(self._queue) >= self._settings.queue_rows_max
            or self._queued_bytes + size > self._settings.queue_bytes_max
        ):
            raise QueueFull("too many deliveries wait")
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(row, size, stored))
        self._queued_bytes += size
        if self._flushing is None:
            # Starts once every request that is ready now had its turn: they are the first batch.
            self._flushing = asyncio.create_task(self._flush())
        try:
            return await stored
        finally:
            # Else a failure and this frame hold each other, and the body, until the garbage collector comes.
            del stored

    async def drain(self) -> None:
        """Return once nothing waits any more."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        try:
            while self._queue:
                await self._keep_batch(self._next_batch())
        finally:
            self._flushing = None

    def _next_batch(self) -> Sequence[_Waiting]:
        batch = [self._queue.popleft()]
        size = batch[0].size
        while (
            self._queue
            and len(batch) < self._settings.batch_rows_max
            and size + self._queue[0].size <= self._settings.batch_bytes_max
        ):
            batch.append(self._queue.popleft())
            size += batch[-1].size
        self._queued_bytes -= size
        telemetry.INGRESS_QUEUE_ROWS.set(len(self._queue))
        telemetry.INGRESS_QUEUE_BYTES.set(self._queued_bytes)
        telemetry.INGRESS_BATCH_ROWS.observe(len(batch))
        return batch

    async def _keep_batch(self, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        try:
            places = await self._keep([waiting.row for waiting in batch])
        except Exception as error:  # noqa: BLE001  Whatever it is, those who wait must hear of it.
            self._tell_failure(batch, error)
        else:
            self._tell_places(batch, places)
        telemetry.INGRESS_APPEND_SECONDS.observe(time.perf_counter() - began)

    def _tell_places(self, batch: Sequence[_Waiting], places: Sequence[Stored]) -> None:
        log.debug("ingress.kept", count=len(batch), place=places[-1].place, position=places[-1].position)
        for waiting, stored in zip(batch, places, strict=True):
            # Done already where its client went away: the row is kept all the same.
            if not waiting.stored.done():
                waiting.stored.set_result(stored)

    def _tell_failure(self, batch: Sequence[_Waiting], error: Exception) -> None:
        if not isinstance(error, TransientError):
            log.error("ingress.keep_failed", count=len(batch), exc_info=error)
        # One error each: a shared one would gather the tracebacks of all waiters.
        for waiting in batch:
            if not waiting.stored.done():
                waiting.stored.set_exception(TransientError("no store can take deliveries now"))
