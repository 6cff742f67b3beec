"""Make the rebuilt states the live ones, in one transaction, while everything runs.

With all position rows held, nobody folds: the shadow is brought to exactly where the live states are,
what differs is settled, the tables change places, and the position rows get the generation and the fold
version, their positions untouched. So no event is missing or doubled. The generation rises if any state
is another than the live one, so no id is ever used twice.

A crash anywhere before the commit leaves the live states as they were, and the shadow for the next try.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import structlog

from projections.delivery import PARTITIONS
from projections.events import Amendment, amendments
from projections.fold import Root
from service.crashpoints import crashpoint
from service.errors import PermanentError, TransientError
from service.eventlog.events import append_events
from service.kafka.partitioner import partition_of
from service.postgres import Connection, statement
from service.readmodels.apply import event_of
from service.replay import shadow
from service.replay.compare import approach, compare_all, settle
from service.replay.goal import PREVIOUS, SHADOW
from service.replay.site import Site

logger = structlog.get_logger()

_SQL: Final = Path(__file__).parent
_PAGE_ROOTS: Final = 500
_LOCK_TIMEOUT_MS: Final = 3_000
"""How long the projector may wait while a reader's query is in the way of the exchange."""
_TRIES_MAX: Final = 10
_RETRY_AFTER_S: Final = 1.0


class Swapped(msgspec.Struct, frozen=True, kw_only=True):
    """What a swap did."""

    generation: int
    raised: bool
    """Whether other states than the live ones came in."""
    amendments: int
    """Records that went to the outbox."""
    positions: dict[int, int]
    """Where every partition stood."""


async def check_previous(owner: Connection) -> None:
    """Raises PermanentError if the states before the last swap are still kept."""
    if await shadow.exists(owner, PREVIOUS):
        raise PermanentError(
            f"the schema {PREVIOUS} still keeps the states before the last swap: drop it with "
            "`recibo replay drop-previous`"
        )


async def swap(site: Site, *, publish_amendments: bool) -> Swapped:
    """Swap the finished rebuild in. Raises TransientError if queries on the live tables do not end."""
    await check_previous(site.owner)
    await approach(site)
    await compare_all(site)
    for attempt in range(_TRIES_MAX):
        await approach(site)
        try:
            async with site.owner.transaction():
                swapped = await _swap(site, publish_amendments=publish_amendments)
                crashpoint("replay.exchanged")
        except asyncpg.LockNotAvailableError:
            logger.warning("replay.swap_waits", attempt=attempt)
            await asyncio.sleep(_RETRY_AFTER_S)
            continue
        crashpoint("replay.swapped")
        logger.info("replay.swapped", generation=swapped.generation, amendments=swapped.amendments)
        return swapped
    raise TransientError(
        "long queries on the live state tables do not let the swap in: end them (pg_stat_activity), then run "
        "the same command again; the rebuilt states are kept"
    )


async def _swap(site: Site, *, publish_amendments: bool) -> Swapped:
    await site.owner.execute(f"set local lock_timeout = {_LOCK_TIMEOUT_MS}")
    await site.positions.place(site.owner, await _places_to_make(site))
    held = await site.positions.hold(site.owner)
    await settle(site, held.places)
    newest = await site.owner.fetchrow(statement(_SQL, "newest_generation"))
    assert newest is not None
    raised: bool = await site.owner.fetchval(statement(_SQL, "states_differ"))
    generation = newest["number"] + raised
    count = 0
    if publish_amendments:
        count = await _amend(site, generation, held.places)
    await site.owner.execute(statement(_SQL, "keep_since"))
    await site.owner.execute(statement(_SQL, "keep_parked_since"))
    await shadow.exchange(site.owner, site.live)
    await shadow.drop(site.owner, SHADOW)
    await site.positions.take_over(site.owner, generation)
    await site.owner.execute(
        statement(_SQL, "record_generation"), generation, msgspec.json.encode(held.places).decode()
    )
    return Swapped(generation=generation, raised=raised, amendments=count, positions=dict(held.places))


async def _places_to_make(site: Site) -> Mapping[int, int]:
    """The positions of partitions without a row: the start, or, where all was lost, what is rebuilt now."""
    if site.goal.state_lost and await site.positions.vector(site.owner):
        raise PermanentError("a projector began anew meanwhile: stop it, empty projector_position, run again")
    return await site.vector() if site.goal.state_lost else dict.fromkeys(range(PARTITIONS), 0)


async def _amend(site: Site, generation: int, places: Mapping[int, int]) -> int:
    """Tell of every state that differs, in the order of roots; how many records that took."""
    swapped_at = time.time_ns() // 1_000 * 1_000
    after, count = "", 0
    while roots := [
        row["root"] for row in await site.owner.fetch(statement(_SQL, "roots_to_amend"), after, _PAGE_ROOTS)
    ]:
        changed = await _changed(site, roots)
        rebuilt = await _rebuilt(site, roots)
        events = [
            event_of(event, site.goal.log)
            for root in roots
            for event in amendments(
                rebuilt.get(root) or Root.decode(root, None),
                changed[root],
                log=site.goal.log,
                position=places[partition_of(root)],
                swapped_at=swapped_at,
                generation=generation,
            )
        ]
        await append_events(site.owner, events)
        after, count = roots[-1], count + len(events)
    return count


async def _changed(site: Site, roots: list[str]) -> dict[str, list[Amendment]]:
    changed: dict[str, list[Amendment]] = {root: [] for root in roots}
    for row in await site.owner.fetch(statement(_SQL, "differences_of"), roots):
        changed[row["root"]].append(Amendment(row["what"], row["ordinal"], row["was"]))
    return changed


async def _rebuilt(site: Site, roots: list[str]) -> dict[str, Root]:
    rows = await site.writer.fetch(statement(_SQL, "timelines_of_roots"), roots)
    return {row["root"]: Root.decode(row["root"], row["document"]) for row in rows}
