"""Hold the shadow against the live states, root by root, byte for byte.

Both move while they are compared. So all roots are compared once, in short pages; then, with the
position rows held for a moment (`holding`) and the shadow exactly where the live states are, those that
changed meanwhile are compared again. What differs stands in a table of the shadow schema: memory does
not grow.

A crash loses the comparison; nothing live is ever written.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from projections.delivery import PARTITIONS
from projections.fold import interpret, states_of
from projections.states import Began, Flag
from projections.timeline import Timeline
from service.errors import TransientError
from service.eventlog import reader as log_reader
from service.kafka.partitioner import partition_of
from service.postgres import Connection, statement
from service.replay.history import Told, told_of
from service.replay.holding import Hold, SessionEndedError, positions_held, retried
from service.replay.rebuild import Teller
from service.replay.site import Site

_SQL: Final = Path(__file__).parent
_PAGE_ROOTS: Final = 5_000
_CLOSE_ROWS: Final = 2_000
"""So few rows behind, holding the position rows until they are folded stops nobody for long."""
_CLOSE_POSITIONS: Final = 100_000
"""Nor does looking at so many."""
_CLOSE_ROOTS: Final = 5_000
"""Nor does comparing so many again."""
_ROUNDS_MAX: Final = 50


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A root whose live and rebuilt rows differ."""

    root: str
    live: list[dict[str, Any]]
    """Its state rows as they are live."""
    rebuilt: list[dict[str, Any]]
    """Its state rows as the log gives them today."""
    parted_at: int | None
    """The position of the first delivery that parts them; null where the log has none of it."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison found."""

    roots: int
    """In the shadow."""
    different: int
    states_differ: bool
    """Whether a swap would bring in another state than the live ones; timelines and retries counted in."""
    to_retry: int
    """Roots with deliveries that are quarantined, or wait for a parked root, and can be read today."""
    parked: int
    """Roots that wait live and rebuilt; they are not compared."""
    unreadable_now: list[int]
    """Positions, the first of them, of deliveries that were read live and cannot be read today."""
    listed: list[Difference]
    """The first of the different ones."""

    @property
    def equal(self) -> bool:
        return not self.different and not self.unreadable_now


async def approach(site: Site) -> None:
    """Bring the shadow close to where the live states are. Raises TransientError if they outrun it."""
    for _ in range(_ROUNDS_MAX):
        followed = await site.catch_up.to(await site.vector(), partial(site.tell, "catching up"))
        if followed.folded <= _CLOSE_ROWS and followed.looked_at <= _CLOSE_POSITIONS:
            return
    raise _outrun()


def _outrun() -> TransientError:
    return TransientError("the projector folds faster than the rebuild follows: run again in a quieter hour")


async def compare_all(site: Site) -> None:
    """Compare every root once, and those that changed meanwhile, until few are left to `settle`."""
    await _compare_every_root(site)
    await follow(site)


async def follow(site: Site) -> None:
    """Catch up, and compare again what that changed, until few are left to `settle`.

    Raises TransientError if the live states outrun the shadow.
    """
    for _ in range(_ROUNDS_MAX):
        await approach(site)
        if await _compare_touched(site) <= _CLOSE_ROOTS:
            return
    raise _outrun()


async def _compare_every_root(site: Site) -> None:
    await site.writer.execute("truncate touched, difference, excused")
    told = Teller(site.tell, "comparing", site.counts["roots"], 0)
    after = ""
    while page := await site.owner.fetchrow(statement(_SQL, "page_end"), after, _PAGE_ROOTS):
        await site.owner.execute(statement(_SQL, "compare_page"), after, page["root"])
        told.add(page["roots"])
        after = page["root"]
    # Rows of states whose root has no timeline are nobody's page.
    last = await site.owner.fetchval(statement(_SQL, "last_root"))
    if last is not None and last > after:
        await site.owner.execute(statement(_SQL, "compare_page"), after, last)


async def _compare_touched(site: Site) -> int:
    """Compare again what the shadow folded since; how many roots. What it folds next is touched anew."""
    count = 0
    while roots := [
        row["root"] for row in await site.writer.fetch(statement(_SQL, "take_touched"), _PAGE_ROOTS)
    ]:
        await _compare_again(site, roots)
        count += len(roots)
    return count


async def settle(site: Site, hold: Hold) -> None:
    """Bring the shadow to exactly where the held rows stand, and compare again what changed meanwhile.

    The hold is renewed before each page.
    """
    vector = {**dict.fromkeys(range(PARTITIONS), 0), **hold.places}
    await site.catch_up.to(vector, before_page=hold.renew)
    after = ""
    while roots := [row["root"] for row in await _unsettled(site, after)]:
        await hold.renew()
        await _compare_again(site, roots)
        after = roots[-1]


async def _compare_again(site: Site, roots: Sequence[str]) -> None:
    await site.writer.execute(statement(_SQL, "forget_differences"), roots)
    await site.owner.execute(statement(_SQL, "compare_roots"), roots)


async def _unsettled(site: Site, after: str) -> Sequence[Any]:
    return await site.owner.fetch(statement(_SQL, "unsettled_roots"), after, site.goal.log, _PAGE_ROOTS)


class _Settled(NamedTuple):
    """What was read while the position rows were held."""

    places: Mapping[int, int]
    roots: Sequence[str]
    """Those that differ and are listed."""
    live: Mapping[str, list[dict[str, Any]]]
    rebuilt: Mapping[str, list[dict[str, Any]]]
    timelines: Mapping[str, Timeline | None]


async def compare(site: Site, *, listed_max: int) -> Compared:
    """Compare the finished rebuild with the live states; at most `listed_max` differences in full.

    Raises TransientError where another session keeps the position rows, or this one stood still.
    """
    await approach(site)
    await compare_all(site)
    excused_to = await _excuse(site, after=0)

    async def attempt(_number: int) -> _Settled:
        await follow(site)
        return await _settled(site, listed_max)

    try:
        places, roots, live, rebuilt, timelines = await retried(attempt, site.tell)
    except SessionEndedError as ended:
        raise TransientError(
            f"the comparison was not finished: {ended}. Nothing was changed and the rebuilt states are kept: "
            "run the same command again"
        ) from ended
    await _excuse(site, after=excused_to)
    found = await _found(site)
    told = await told_of(site.reader, roots, up_to=max(places.values(), default=0), reading=site.goal.reading)
    return msgspec.structs.replace(
        found,
        listed=[
            Difference(
                root=root,
                live=live.get(root, []),
                rebuilt=rebuilt.get(root, []),
                parted_at=parted_at(
                    timelines.get(root),
                    live.get(root, []),
                    [one for one in told[root] if one.position <= places.get(partition_of(root), 0)],
                    root,
                ),
            )
            for root in roots
        ],
    )


async def _settled(site: Site, listed_max: int) -> _Settled:
    async with positions_held(site.owner, site.positions) as hold:
        await settle(site, hold)
        roots = await _differing(site, listed_max)
        return _Settled(
            hold.places,
            roots,
            await _states(site.owner, roots),
            await _states(site.writer, roots),
            await _timelines(site.owner, roots),
        )


async def _excuse(site: Site, *, after: int) -> int:
    """Note the roots that wait for a retry, or that fold nowhere.

    Reads the deliveries that are quarantined live after position `after`, which may be many: so not while
    the position rows are held. Returns the position after which there may be new ones.
    """
    behind = min((await site.vector()).values())
    while positions := [
        row["position"]
        for row in await site.owner.fetch(statement(_SQL, "quarantine_left"), site.goal.log, after, 500)
    ]:
        roots = []
        for delivery in await log_reader.at(site.reader, positions):
            try:
                roots.append(interpret(delivery, site.goal.reading, retrying=True).root)
            except Exception:  # noqa: BLE001, S112  It came meanwhile: the shadow will quarantine it, too.
                continue
        await site.writer.execute(statement(_SQL, "excuse"), roots, "to retry")
        after = positions[-1]
    for row in await site.owner.fetch(statement(_SQL, "parked_roots"), site.goal.log):
        if row["live"]:
            why = "parked" if row["shadow"] else "to retry"
            await site.writer.execute(statement(_SQL, "excuse"), [row["root"]], why)
    return behind


async def _found(site: Site) -> Compared:
    counts = await site.owner.fetchrow(statement(_SQL, "count_differences"))
    assert counts is not None
    unreadable = await site.owner.fetch(statement(_SQL, "quarantine_new"), site.goal.log, 100)
    return Compared(
        **dict(counts),
        states_differ=await site.owner.fetchval(statement(_SQL, "states_differ")),
        unreadable_now=[row["position"] for row in unreadable],
        listed=[],
    )


async def _differing(site: Site, at_most: int) -> list[str]:
    rows = await site.owner.fetch(statement(_SQL, "differing_roots"), "", at_most)
    return [row["root"] for row in rows]


async def _states(connection: Connection, roots: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    states: dict[str, list[dict[str, Any]]] = {}
    for row in await connection.fetch(statement(_SQL, "states_of_roots"), roots):
        states.setdefault(row["root"], []).append(orjson.loads(row["state"]))
    return states


async def _timelines(connection: Connection, roots: Sequence[str]) -> dict[str, Timeline | None]:
    """The timelines as they are live; null for one that this code does not read any more."""
    return {
        row["root"]: _timeline(row["root"], row["document"])
        for row in await connection.fetch(statement(_SQL, "timelines_of_roots"), roots)
    }


def _timeline(root: str, document: bytes) -> Timeline | None:
    try:
        return Timeline.decode(root, document)
    except msgspec.DecodeError:
        return None


def parted_at(
    timeline: Timeline | None, live: Sequence[Mapping[str, Any]], told: Sequence[Told], root: str
) -> int | None:
    """The position of the first delivery in `told` that the live rows tell otherwise than the log.

    It is the first whose fact is not in the live timeline; where all are, the facts were understood alike
    and folded otherwise: then the one by which statuses or flags part, or the last.
    """
    known = set() if timeline is None else set(map(_bytes_of, timeline.entries))
    whole = Timeline.of(root, [one.fact for one in told])
    # Without those that a repeat dated anew: no timeline has them any more.
    counting = set(map(_bytes_of, whole.entries))
    for one in told:
        if (said := _bytes_of(one.fact)) in counting and said not in known:
            return one.position
    if not told:
        return None
    try:
        instant = _parting(live, whole)
    except Exception:  # noqa: BLE001  Today's fold fails on it, and parked the root in the rebuild.
        return next(
            (one.position for count, one in enumerate(told, 1) if not _folds(root, told[:count])),
            told[-1].position,
        )
    later = [one.position for one in told if one.fact.occurred_at == instant]
    return min(later) if later else told[-1].position


def _folds(root: str, told: Sequence[Told]) -> bool:
    try:
        states_of(Timeline.of(root, [one.fact for one in told]))
    except Exception:  # noqa: BLE001  Any fault of the fold.
        return False
    return True


def _parting(live: Sequence[Mapping[str, Any]], timeline: Timeline) -> int | None:
    """The earliest instant of an entry of histories or flags that only one side has; null without."""
    states = states_of(timeline)
    own = [each for each in (states.order, states.subscription, states.withdrawal, states.cart) if each]
    ours = {_entry(entry) for state in (*own, *states.disputes) for entry in state.history}
    ours |= {_entry(flag) for state in own for flag in state.flags}
    theirs = {_stored(entry) for row in live for entry in (*row["history"], *row.get("flags", ()))}
    return min((instant for instant, _ in ours ^ theirs), default=None)


def _entry(entry: Began | Flag) -> tuple[int, str]:
    return (entry.began_at, entry.status) if isinstance(entry, Began) else (entry.occurred_at, entry.name)


def _stored(entry: Mapping[str, Any]) -> tuple[int, str]:
    return (
        (entry["began_at"], entry["status"]) if "began_at" in entry else (entry["occurred_at"], entry["name"])
    )


_bytes_of: Final = msgspec.json.Encoder().encode
