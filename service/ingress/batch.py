"""Group commit: deliveries that arrive while an append runs share the next one.

In: rows, one at a time, from many requests. Out: the position of each, once it is durable. One append
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
from service.crashpoints import crashpoint
from service.errors import OutcomeUnknownError, TransientError
from service.eventlog.deliveries import Appended, NewDelivery
from service.settings import IngressSettings

log = structlog.get_logger()

Append = Callable[[Sequence[NewDelivery]], Awaitable[Appended]]
"""Makes rows durable, in order: DeliveryLog.append."""

_ROW_OVERHEAD_BYTES: Final = 512
"""About what a row costs beside its body and headers, so that empty-handed floods are bounded too."""


class QueueFull(TransientError):
    """More deliveries wait than may; the sender is told to come back."""


class Stored(NamedTuple):
    """A delivery that is durable."""

    position: int
    stripped: bool
    """Postgres took it only without its root and headers."""


class _Waiting(NamedTuple):
    row: NewDelivery
    size: int
    stored: asyncio.Future[Stored]


class GroupCommit:
    """Appends deliveries in batches, one batch at a time, in order of arrival."""

    def __init__(self, append: Append, settings: IngressSettings) -> None:
        self._append_rows = append
        self._settings = settings
        self._queue: deque[_Waiting] = deque()
        self._queued_bytes = 0
        self._flushing: asyncio.Task[None] | None = None
        self._log_away = False

    def health(self) -> Mapping[str, object]:
        """How many deliveries wait, and whether the last append succeeded."""
        return {
            "queued_rows": len(self._queue),
            "queued_bytes": self._queued_bytes,
            "log": "away" if self._log_away else "ok",
        }

    async def append(self, row: NewDelivery) -> Stored:
        """Where `row` is, once it is durable. A caller that is cancelled does not take it back.

        Raises QueueFull at once; TransientError where the log cannot take it: it may be there all the
        same only after `ingress.outcome_unknown`.
        """
        size = _ROW_OVERHEAD_BYTES + len(row.body) + len(row.headers)
        if (
            len(self._queue) >= self._settings.queue_rows_max
            or self._queued_bytes + size > self._settings.queue_bytes_max
        ):
            raise QueueFull("too many deliveries wait for the log")
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(row, size, stored))
        self._queued_bytes += size
        if self._flushing is None:
            # Starts once every request that is ready now had its turn: they are the first batch.
            self._flushing = asyncio.create_task(self._flush())
        return await stored

    async def drain(self) -> None:
        """Return once nothing waits any more."""
        while self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        try:
            while self._queue:
                await self._append_batch(self._next_batch())
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

    async def _append_batch(self, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        try:
            appended = await self._append_stubbornly([waiting.row for waiting in batch])
        except Exception as error:  # noqa: BLE001  Whatever it is, those who wait must hear of it.
            self._tell_failure(batch, error)
        else:
            crashpoint("ingress.appended")
            self._tell_positions(batch, appended)
        telemetry.INGRESS_APPEND_SECONDS.observe(time.perf_counter() - began)

    async def _append_stubbornly(self, rows: Sequence[NewDelivery]) -> Appended:
        for attempt in range(1, self._settings.append_attempts_max + 1):
            try:
                return await self._append_rows(rows)
            except OutcomeUnknownError:
                # Written before the next attempt: each line accounts for one row that may be extra.
                for row in rows:
                    log.warning("ingress.outcome_unknown", body_sha256=row.body_sha256.hex(), attempt=attempt)
                telemetry.INGRESS_OUTCOME_UNKNOWN.inc(len(rows))
        raise TransientError("whether the log took the deliveries is unknown, after several attempts")

    def _tell_positions(self, batch: Sequence[_Waiting], appended: Appended) -> None:
        self._log_away = False
        log.debug("ingress.appended", count=len(batch), position=appended.positions[-1])
        if appended.stripped:
            telemetry.INGRESS_STRIPPED.inc(len(appended.stripped))
        for index, (waiting, position) in enumerate(zip(batch, appended.positions, strict=True)):
            # Done already where its client went away: the row is in the log all the same.
            if not waiting.stored.done():
                waiting.stored.set_result(Stored(position, index in appended.stripped))

    def _tell_failure(self, batch: Sequence[_Waiting], error: Exception) -> None:
        self._log_away = True
        if isinstance(error, TransientError):
            log.warning("ingress.log_away", count=len(batch), detail=str(error))
        else:
            log.error("ingress.append_failed", count=len(batch), exc_info=error)
        # One error each: a shared one would gather the tracebacks of all waiters.
        for waiting in batch:
            if not waiting.stored.done():
                waiting.stored.set_exception(TransientError("the log cannot take deliveries now"))
