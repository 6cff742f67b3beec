"""Make the rebuilt states the live ones, in one transaction, while everything runs.

With all position rows held, nobody folds: the shadow is brought to exactly where the live states are,
what differs is settled, the tables change places, and the position rows get the generation and the fold
version, their positions untouched. So no event is missing or doubled. The generation rises if any state
is another than the live one, so no id is ever used twice.

A crash anywhere before the commit leaves the live states as they were, and the shadow for the next try; so
does a client that freezes there, for Postgres ends its session. Where locks of other sessions are in the way,
the attempt is made again, with all that was compared before it.
"""

import time
from collections.abc import Mapping
from functools import partial
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
from service.replay import locks, shadow
from service.replay.compare import approach, compare_all, follow, settle
from service.replay.goal import PREVIOUS, SHADOW
from service.replay.holding import Hold, SessionEndedError, positions_held, retried
from service.replay.site import Site

logger = structlog.get_logger()

_SQL: Final = Path(__file__).parent
_PAGE_ROOTS: Final = 500
_EXCHANGE_LIMIT_S: Final = 10.0
"""Between two renewals, once readers of the live states wait, too: what is left takes milliseconds."""


class Swapped(msgspec.Struct, frozen=True, kw_only=True):
    """What a swap did."""

    generation: int
    raised: bool
    """Whether other states than the live ones came in."""
    amendments: int
    """Records that went to the outbox."""
    positions: dict[int, int]
    """Where every partition stood."""
    attempts: int = 1
    """More than one where locks of other sessions were in the way."""


async def check_previous(owner: Connection) -> None:
    """Raises PermanentError if the states before the last swap are still kept."""
    if await shadow.exists(owner, PREVIOUS):
        raise PermanentError(
            f"the schema {PREVIOUS} still keeps the states before the last swap: drop it with "
            "`recibo replay drop-previous`"
        )


async def swap(site: Site, *, publish_amendments: bool) -> Swapped:
    """Swap the finished rebuild in.

    Raises PermanentError where the live tables have something that a swap would lose, TransientError if
    locks of other sessions do not let it in, or if this process stood still with locks of its own.
    """
    await check_previous(site.owner)
    await shadow.refuse_losses(site.owner, site.live)
    await shadow.refuse_other_forms(site.owner, site.live)
    await approach(site)
    await compare_all(site)

    async def attempt(number: int) -> Swapped:
        await follow(site)
        swapped = await _attempt(site, publish_amendments=publish_amendments)
        return msgspec.structs.replace(swapped, attempts=number)

    swapped = await retried(attempt, site.tell)
    crashpoint("replay.swapped")
    logger.info("replay.swapped", generation=swapped.generation, amendments=swapped.amendments)
    return swapped


async def _attempt(site: Site, *, publish_amendments: bool) -> Swapped:
    done: Swapped | None = None
    try:
        async with positions_held(site.owner, site.positions, missing=await _places_to_make(site)) as hold:
            done = await _swap(site, hold, publish_amendments=publish_amendments)
            crashpoint("replay.exchanged")
    except SessionEndedError as ended:
        if done is None or not await _has_happened(site):
            raise TransientError(
                f"the swap did not happen: {ended}. The live states are as they were, and the rebuilt ones "
                "are kept: run the same command again"
            ) from ended
    assert done is not None
    return done


async def _has_happened(site: Site) -> bool:
    """Whether the exchange was committed, although the connection was lost before Postgres said so."""
    try:
        await locks.outlive_owner(site.writer, SHADOW)
        return not await shadow.exists(site.writer, SHADOW)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise TransientError(
            "the connection to Postgres was lost at the commit of the swap, which may have happened: run the "
            f"same command again; if it did, {PREVIOUS} is there, and the command says so"
        ) from error


async def _swap(site: Site, hold: Hold, *, publish_amendments: bool) -> Swapped:
    await settle(site, hold)
    await hold.renew()
    newest = await site.owner.fetchrow(statement(_SQL, "newest_generation"))
    assert newest is not None
    raised: bool = await site.owner.fetchval(statement(_SQL, "states_differ"))
    generation = newest["number"] + raised
    count = 0
    if publish_amendments:
        count = await _amend(site, generation, hold)
    await hold.renew()
    await site.owner.execute(statement(_SQL, "keep_since"))
    await site.owner.execute(statement(_SQL, "keep_parked_since"))
    await shadow.exchange(site.owner, site.live, renew=partial(hold.renew, _EXCHANGE_LIMIT_S))
    await shadow.drop(site.owner, SHADOW)
    await site.positions.take_over(site.owner, generation)
    await site.owner.execute(
        statement(_SQL, "record_generation"), generation, msgspec.json.encode(hold.places).decode()
    )
    return Swapped(generation=generation, raised=raised, amendments=count, positions=dict(hold.places))


async def _places_to_make(site: Site) -> Mapping[int, int]:
    """The positions of partitions without a row: the start, or, where all was lost, what is rebuilt now."""
    if site.goal.state_lost and await site.positions.vector(site.owner):
        raise PermanentError("a projector began anew meanwhile: stop it, empty projector_position, run again")
    return await site.vector() if site.goal.state_lost else dict.fromkeys(range(PARTITIONS), 0)


async def _amend(site: Site, generation: int, hold: Hold) -> int:
    """Tell of every state that differs, in the order of roots; how many records that took.

    The hold is renewed before each page: there may be amendments for every root.
    """
    swapped_at = time.time_ns() // 1_000 * 1_000
    after, count = "", 0
    while roots := [
        row["root"] for row in await site.owner.fetch(statement(_SQL, "roots_to_amend"), after, _PAGE_ROOTS)
    ]:
        await hold.renew()
        changed = await _changed(site, roots)
        rebuilt = await _rebuilt(site, roots)
        events = [
            event_of(event, site.goal.log)
            for root in roots
            for event in amendments(
                rebuilt.get(root) or Root.decode(root, None),
                changed[root],
                log=site.goal.log,
                position=hold.places[partition_of(root)],
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
