"""What was known, and what had happened, by an instant: two different questions, which can be asked at once.

Known: what the log held by then; the log's recorded_at grows with its positions, so an instant is one
position. Happened: the facts that occurred by then. Both are read and folded by today's code. Nothing is
written.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from projections.facts import Fact, Reading
from projections.fold import states_of
from projections.states import States
from projections.timeline import sort_key
from service.errors import PermanentError
from service.eventlog import head
from service.kafka.headers import nanoseconds
from service.postgres import Connection, statement
from service.readmodels.apply import place_of
from service.replay import instants
from service.replay.history import Told, timeline_of, told_of

_SQL: Final = Path(__file__).parent


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a root's timeline."""

    position: int
    """Of the delivery that told it."""
    recorded_at: int
    fact: Fact
    known: bool
    """Whether the log held it by then."""
    happened: bool
    """Whether it had occurred by then."""
    counts: bool
    """Whether the state derives from it; one that is known and happened does not where a repeat dates it
    better."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A root as of an instant."""

    root: str
    position: int
    """What the log held then."""
    entries: Sequence[Entry]
    """All that is known of it today, in the order of the fold."""
    states: States
    fault: str = ""
    """Why there are none: what today's fold fails by, and where."""


async def position_at(connection: Connection, instant: int) -> int:
    """The last position that the log held at `instant`.

    Raises PermanentError for an instant in the future, or before the log.
    """
    await check_not_future(connection, instant)
    low, high = 0, await head.position(connection, "deliveries")
    if high == 0:
        raise PermanentError("the log is empty: there is nothing to show as of any instant")
    while low < high:
        middle = (low + high + 1) // 2
        if await _recorded_at(connection, middle) <= instant:
            low = middle
        else:
            high = middle - 1
    if low == 0:
        instants.check_in_log(instant, began_at=await _recorded_at(connection, 1))
    return low


async def check_not_future(connection: Connection, instant: int) -> None:
    """Raises PermanentError for an instant after the database's clock."""
    now = await connection.fetchval("select clock_timestamp()")
    instants.check_not_future(instant, now=nanoseconds(now))


async def seen(
    connection: Connection,
    root: str,
    *,
    reading: Reading,
    position: int | None = None,
    effective_at: int | None = None,
) -> Seen:
    """The root as of the log position `position` and the instant `effective_at`; null is now.

    Raises PermanentError if no delivery can be read that is about it.
    """
    end = await head.position(connection, "deliveries")
    told = (await told_of(connection, [root], up_to=end, reading=reading))[root]
    if not told:
        raise PermanentError(
            f"no delivery that can be read is about {root}: a root is ACCOUNT:order:ID (or subscription, "
            "withdrawal, cart); what cannot be read is in `recibo quarantine list`"
        )
    position = end if position is None else position
    timeline = timeline_of(root, told, position=position, effective_at=effective_at)
    states, fault = States(), ""
    try:
        states = states_of(timeline)
    except Exception as error:  # noqa: BLE001  The timeline of a parked root is what its operator asks for.
        fault = place_of(error)
    return Seen(
        root=root,
        position=position,
        entries=[
            _entry(one, position, effective_at, counting=one.fact in timeline.entries)
            for one in sorted(told, key=_place)
        ],
        states=states,
        fault=fault,
    )


def _entry(told: Told, position: int, effective_at: int | None, *, counting: bool) -> Entry:
    known = told.position <= position
    return Entry(
        position=told.position,
        recorded_at=told.recorded_at,
        fact=told.fact,
        known=known,
        happened=effective_at is None or told.fact.occurred_at <= effective_at,
        counts=known and counting,
    )


def _place(told: Told) -> tuple[tuple[int, int, int, str], int]:
    return sort_key(told.fact), told.position


async def _recorded_at(connection: Connection, position: int) -> int:
    return nanoseconds(await connection.fetchval(statement(_SQL, "recorded_at"), position))
