"""Fold deliveries into the stored states and the outbox, inside the caller's transaction.

The one place where states are written delivery by delivery. Live, the projector and the retries call
it, each holding the position rows of the partitions concerned, so nobody else folds those roots
meanwhile; replay calls it on its shadow, silently. A crash before the caller's commit leaves nothing
of it.

What cannot be read is quarantined; a root whose fold raises, that passes a limit of its size, or whose rows
Postgres refuses, is parked with the positions of its deliveries; the rest flows.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import orjson
import structlog

from projections.delivery import Delivery, routing_key
from projections.events import Outgoing, outgoing
from projections.facts import Fact, Reading, Unreadable
from projections.fold import (
    Root,
    TooLargeError,
    check_bytes,
    check_facts,
    check_size,
    interpret_each,
    states_of,
)
from projections.timeline import Timeline, UnknownMemberError
from service import telemetry
from service.errors import InvariantError, ReciboError
from service.eventlog.events import NewEvent, append_events
from service.kafka import topics
from service.kafka.headers import receipt
from service.kafka.partitioner import partition_of
from service.postgres import Connection
from service.readmodels import store
from service.readmodels.store import FoldedRoot, Quarantined

logger = structlog.get_logger()

DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)
"""What Postgres raises because of a root's own rows."""

_WAITS: Final = "its earlier deliveries wait"
_TURN_S: Final = 0.02
"""A fold lets the event loop turn this often: heartbeats and `/health` go on beside it."""


class BatchTooLargeError(ReciboError):
    """The deliveries of one call make more events than fit: give it fewer. Nothing of it was written."""


@dataclass(slots=True)
class _Pending:
    """What the batch holds for one root: its readable deliveries, in log order."""

    root: str
    partition: int
    deliveries: list[Delivery] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)

    @property
    def positions(self) -> list[int]:
        return [delivery.position for delivery in self.deliveries]


@dataclass(frozen=True, slots=True)
class _Folded:
    """A root after the batch, and what it tells the world."""

    pending: _Pending
    row: FoldedRoot
    events: list[tuple[int, Outgoing]]
    """With the position of the delivery that caused each."""
    event_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of the deliveries of one call."""

    folded: int
    roots: Sequence[str]
    """All that something was read of."""
    quarantined: Sequence[Quarantined]
    parked: Sequence[str]


class Folder:
    """Folds deliveries of one log with one reading."""

    def __init__(
        self, *, log: str, reading: Reading, silent: bool = False, event_bytes_max: int | None = None
    ) -> None:
        """`silent`: nothing goes to the outbox. `event_bytes_max`: of all events of one call."""
        self._log = log
        self._reading = reading
        self._silent = silent
        self._event_bytes_max = event_bytes_max
        self._turned_at = 0.0

    async def apply(
        self,
        connection: Connection,
        deliveries: Sequence[Delivery],
        *,
        generation: int,
        retrying: bool = False,
    ) -> Applied:
        """Fold `deliveries`, in log order. `retrying` admits those whose row has no root.

        Raises BatchTooLargeError where several deliveries make too many events, InvariantError where another
        release wrote a timeline, else what asyncpg raises for anything but a refused datum.
        """
        pending, quarantined = self._read(deliveries, retrying=retrying)
        stored = await store.load(connection, list(pending))
        folded: list[_Folded] = []
        parked: list[tuple[_Pending, str]] = []
        left = self._event_bytes_max if len(deliveries) > 1 else None
        for one in pending.values():
            before = stored[one.root]
            if before.parked:
                parked.append((one, _WAITS))
                continue
            try:
                found = await self._fold(one, before.timeline, generation, left)
            except ReciboError:
                raise
            except TooLargeError as error:
                telemetry.PROJECTOR_TOO_LARGE.inc()
                parked.append((one, str(error)))
            except Exception as error:  # noqa: BLE001  Any fault of one root's fold: the others go on.
                parked.append((one, f"its fold failed: {place_of(error)}"))
            else:
                folded.append(found)
                left = None if left is None else left - found.event_bytes
        parked += await self._write(connection, folded)
        for one, reason in parked:
            await self._park(connection, one, reason)
        await store.quarantine(connection, self._log, quarantined)
        if not self._silent:
            await append_events(connection, [self._quarantine_event(one) for one in quarantined])
            for unread in quarantined:
                telemetry.PROJECTOR_QUARANTINED.labels(provider=unread.provider).inc()
        return Applied(
            folded=sum(len(one.facts) for one in pending.values()) - sum(len(one.facts) for one, _ in parked),
            roots=list(pending),
            quarantined=quarantined,
            parked=[one.root for one, _ in parked],
        )

    def _read(
        self, deliveries: Sequence[Delivery], *, retrying: bool
    ) -> tuple[dict[str, _Pending], list[Quarantined]]:
        pending: dict[str, _Pending] = {}
        quarantined: list[Quarantined] = []
        for delivery, fact in zip(
            deliveries, interpret_each(deliveries, self._reading, retrying=retrying), strict=True
        ):
            if not isinstance(fact, Fact):
                if not isinstance(fact, Unreadable):  # An adapter's fault: nothing is lost.
                    logger.error("projector.adapter_failed", position=delivery.position, error=place_of(fact))
                quarantined.append(quarantined_of(delivery, reason_of(fact)))
                continue
            one = pending.get(fact.root)
            if one is None:
                one = pending[fact.root] = _Pending(fact.root, partition_of(fact.root))
            one.deliveries.append(delivery)
            one.facts.append(fact)
        return pending, quarantined

    async def _fold(
        self, pending: _Pending, stored: bytes | None, generation: int, event_bytes_max: int | None
    ) -> _Folded:
        try:
            timeline = Timeline.decode(pending.root, stored)
        except UnknownMemberError as error:
            raise InvariantError(
                f"the timeline of {pending.root} was written by a newer release ({error}): run that release, "
                "or take this one's reading over with `recibo replay rebuild --swap`"
            ) from None
        events: list[tuple[int, Outgoing]] = []
        event_bytes = 0
        if self._silent:
            for fact in pending.facts:
                timeline = timeline.join(fact)
                await self._turn()
            root = Root(timeline, states_of(timeline))
        else:
            root = Root(timeline, states_of(timeline))
            for delivery, fact in zip(pending.deliveries, pending.facts, strict=True):
                # One at a time, whatever the batch: so the events do not depend on how Kafka cut it.
                after = root.join(fact)
                check_facts(after.facts, self._reading)
                for event in outgoing(
                    root, after, fact=fact, delivery=delivery, log=self._log, generation=generation
                ):
                    size = len(event.data or b"")
                    check_bytes(size, self._reading)
                    event_bytes += size
                    events.append((delivery.position, event))
                if event_bytes_max is not None and event_bytes > event_bytes_max:
                    raise BatchTooLargeError(f"the batch makes over {self._event_bytes_max} bytes of events")
                root = after
                await self._turn()
        document = root.encode()
        check_size(root.timeline, document, root.states, self._reading)
        row = FoldedRoot(
            root=pending.root,
            partition=pending.partition,
            facts=root.facts,
            timeline=document,
            states=root.states,
        )
        return _Folded(pending, row, events, event_bytes)

    async def _turn(self) -> None:
        if time.perf_counter() - self._turned_at > _TURN_S:
            await asyncio.sleep(0)
            self._turned_at = time.perf_counter()

    async def _write(self, connection: Connection, folded: Sequence[_Folded]) -> list[tuple[_Pending, str]]:
        """Write `folded`; those that Postgres refuses, found by halving, come back to be parked."""
        if not folded:
            return []
        try:
            # A savepoint: what Postgres refuses must not take the rest of the batch with it.
            async with connection.transaction():
                await store.save(connection, [one.row for one in folded])
                events = sorted((event for one in folded for event in one.events), key=_position)
                await append_events(connection, [event_of(event, self._log) for _, event in events])
            return []
        except DATA_ERRORS as error:
            if len(folded) == 1:
                return [(folded[0].pending, f"Postgres refuses its rows ({error.sqlstate})")]
        middle = len(folded) // 2
        return await self._write(connection, folded[:middle]) + await self._write(connection, folded[middle:])

    async def _park(self, connection: Connection, pending: _Pending, reason: str) -> None:
        await store.park(
            connection,
            root=pending.root,
            log=self._log,
            partition=pending.partition,
            positions=pending.positions,
            reason=reason,
        )
        if not self._silent:
            telemetry.PROJECTOR_PARKED.inc()
        if reason != _WAITS:  # A busy root that is parked already would fill the log.
            logger.error(
                "projector.parked", partition=pending.partition, positions=pending.positions, reason=reason
            )

    def _quarantine_event(self, one: Quarantined) -> NewEvent:
        name = receipt(self._log, one.position)
        key = routing_key(one.root, one.position)
        return NewEvent(
            topic=topics.QUARANTINE,
            key=key,
            partition_key=key,
            event_id=f"{name}/quarantined",
            headers=orjson.dumps(
                {
                    "ce_specversion": "1.0",
                    "ce_id": f"{name}/quarantined",
                    "ce_source": f"/recibo/{self._log}",
                    "ce_type": "delivery.quarantined",
                    "ce_subject": name,
                    "ce_partitionkey": key,
                    "content-type": "application/json",
                }
            ).decode(),
            value=orjson.dumps(
                {
                    "receipt": name,
                    "source": one.source,
                    "provider": one.provider,
                    "root": one.root,
                    "reason": one.reason,
                }
            ),
        )


def event_of(event: Outgoing, log: str) -> NewEvent:
    """The row of the outbox that tells `event`, of log `log`."""
    return NewEvent(
        topic=event.topic,
        key=event.key,
        partition_key=event.partition_key,
        event_id=event.id,
        headers=orjson.dumps(
            {
                "ce_specversion": "1.0",
                "ce_id": event.id,
                "ce_source": f"/recibo/{log}",
                "ce_type": event.type,
                "ce_subject": event.subject,
                "ce_time": event.time,
                "ce_partitionkey": event.partition_key,
                "ce_sequence": event.sequence,
                "content-type": "application/json",
            }
        ).decode(),
        value=event.data,
    )


def quarantined_of(delivery: Delivery, reason: str) -> Quarantined:
    """`delivery` as it is kept aside."""
    return Quarantined(
        position=delivery.position,
        partition=partition_of(routing_key(delivery.root, delivery.position)),
        source=delivery.source,
        provider=delivery.provider,
        root=delivery.root,
        reason=reason,
    )


def reason_of(error: Exception) -> str:
    """Why a delivery is kept aside that raised `error` when it was read."""
    if isinstance(error, Unreadable):
        return error.reason
    return f"the adapter failed: {type(error).__name__}"  # It must not.


def place_of(error: Exception) -> str:
    """What was raised and where, `ValueError at orders.py:120`: its text may hold personal data."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = "" if frame is None else f" at {Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}"
    return type(error).__name__ + where


def _position(event: tuple[int, Outgoing]) -> int:
    return event[0]
