"""Keep batches of deliveries: in the log, or while it is away in the spill.

In: a batch of rows, one batch at a time. Out: where each is, once it is durable in either; an error, at
once, while both stores are away. Switching over and back is by itself. A crash loses the batch under
way, of which nothing was answered.

A batch is tried once in the log; if it cannot be known whether it got there, each of its rows is written
down before the batch goes elsewhere, for each may be in the log twice then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import structlog

from service import telemetry
from service.crashpoints import crashpoint
from service.errors import OutcomeUnknownError, ReciboError, TransientError
from service.eventlog.deliveries import REFUSED, Appended, NewDelivery
from service.ingress.switch import Switch
from service.waiting import either, pause

logger = structlog.get_logger()

Append = Callable[[Sequence[NewDelivery]], Awaitable[Appended]]
"""Makes rows durable in the log, in order: DeliveryLog.append."""

Probe = Callable[[], Awaitable[None]]
"""Returns if the log could take an append: DeliveryLog.probe."""


class Spill(Protocol):
    """Where rows go while the log is away: service.spill.writer, which wiring hands in."""

    @property
    def away(self) -> bool:
        """Whether `write` would refuse at once."""
        ...

    async def write(self, rows: Sequence[NewDelivery]) -> Sequence[tuple[int, int]]:
        """Partition and offset of each, once durable. Raises TransientError, OutcomeUnknownError."""
        ...


class Stored(NamedTuple):
    """A delivery that is durable, as its receipt names it."""

    place: str
    """The log's name, `spill-<partition>`, or `refused` where Postgres refuses a value of it."""
    position: int
    """There: the log position, the offset, or the number."""


class Lifeboat:
    """The two stores of one ingress, and which of them is used."""

    def __init__(self, *, append: Append, probe: Probe, spill: Spill, log_name: str) -> None:
        self._append_rows = append
        self._probe = probe
        self._spill = spill
        self._log_name = log_name
        self._switch = Switch()
        self._appending = False
        self._away = asyncio.Event()
        self._away_since = 0.0

    def health(self) -> Mapping[str, object]:
        """Whether deliveries go to the log."""
        return {"log": "away" if self._away.is_set() else "ok"}

    async def keep(self, rows: Sequence[NewDelivery]) -> Sequence[Stored]:
        """Where each of `rows` is, in order.

        Raises TransientError where neither store takes them: they may be in one all the same only after
        `ingress.outcome_unknown`.
        """
        if self._switch.takes_log:
            appended = await self._append(rows)
            if appended is not None:
                crashpoint("ingress.appended")
                return self._in_log(appended)
        places = await self._write(rows)
        crashpoint("ingress.spilled")
        return [Stored(f"spill-{partition}", offset) for partition, offset in places]

    async def run(self, stopping: asyncio.Event) -> None:
        """Look whether the log is back, a few times a second while it is away, until asked to stop."""
        while not stopping.is_set():
            await either(self._away, stopping)
            await pause(self._switch.probe_after_s, stopping)
            await self.run_once()

    async def run_once(self) -> None:
        """One look."""
        if self._switch.mode == "trial":
            if not self._appending:
                self._move(self._switch.nothing_came())
        elif self._switch.mode == "away" and await self._log_answers():
            self._move(self._switch.probe_succeeded())

    async def _append(self, rows: Sequence[NewDelivery]) -> Appended | None:
        self._appending = True
        try:
            appended = await self._append_accounted(rows)
        except Exception as error:  # noqa: BLE001  Whatever it is, the spill is there.
            self._tell_away(error)
            self._move(self._switch.append_failed())
            return None
        finally:
            self._appending = False
        self._move(self._switch.append_succeeded())
        return appended

    async def _append_accounted(self, rows: Sequence[NewDelivery], attempt: int = 1) -> Appended:
        try:
            return await self._append_rows(rows)
        except Exception as error:
            if isinstance(error, ReciboError) and not isinstance(error, OutcomeUnknownError):
                raise
            _account(rows, "log", attempt=attempt)
            if attempt > 1 or not self._spill.away:
                raise
        # Nowhere else to go, and a connection that was cut says little of the server: once more.
        return await self._append_accounted(rows, attempt=2)

    async def _write(self, rows: Sequence[NewDelivery]) -> Sequence[tuple[int, int]]:
        began = time.perf_counter()
        try:
            places = await self._spill.write(rows)
        except OutcomeUnknownError:
            _account(rows, "spill", attempt=1)
            raise
        telemetry.INGRESS_SPILLED.inc(len(rows))
        telemetry.INGRESS_SPILL_SECONDS.observe(time.perf_counter() - began)
        return places

    def _in_log(self, appended: Appended) -> Sequence[Stored]:
        if not appended.refused:
            return [Stored(self._log_name, position) for position in appended.positions]
        return [
            Stored(REFUSED if index in appended.refused else self._log_name, position)
            for index, position in enumerate(appended.positions)
        ]

    async def _log_answers(self) -> bool:
        try:
            await self._probe()
        except Exception:  # noqa: BLE001  Whatever it is, the log is not back.
            return False
        return True

    def _tell_away(self, error: Exception) -> None:
        if not isinstance(error, TransientError):
            logger.error("ingress.append_failed", exc_info=error)
        if self._switch.mode == "ok":
            detail = str(error) if isinstance(error, ReciboError) else type(error).__name__
            logger.warning("ingress.log_away", detail=detail)

    def _move(self, switch: Switch) -> None:
        before, self._switch = self._switch.mode, switch
        if switch.mode == before:
            return
        if before == "ok":
            self._away_since = time.monotonic()
            self._away.set()
        elif switch.mode == "ok":
            self._away.clear()
            logger.info("ingress.log_back", away_s=round(time.monotonic() - self._away_since, 3))
        telemetry.INGRESS_LOG_AWAY.set(self._away.is_set())


def _account(rows: Sequence[NewDelivery], store: str, *, attempt: int) -> None:
    # Written before the rows go anywhere else: each line accounts for one row that may be extra.
    for row in rows:
        logger.warning(
            "ingress.outcome_unknown", body_sha256=row.body_sha256.hex(), store=store, attempt=attempt
        )
    telemetry.INGRESS_OUTCOME_UNKNOWN.inc(len(rows))
