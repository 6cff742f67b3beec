"""Rebuild, compare, and hold the outbox against the log: whether what is live is what the log says.

In: the log, the live states, the outbox. Out: what was found, and nothing left behind. What holds: the
positions of both logs are dense, every body is what its digest says, every root equals its rebuild byte
for byte, and the ids in the outbox since the last swap are those that the log yields. A crash leaves the
shadow schema; the next verification goes on there.
"""

from pathlib import Path
from typing import Final

import msgspec

from service.errors import InvariantError
from service.eventlog.reader import holes
from service.postgres import statement
from service.replay import shadow
from service.replay.compare import Compared, compare
from service.replay.crew import crew
from service.replay.jobs import EventStrip, Ids
from service.replay.rebuild import Teller, build, task_of
from service.replay.site import Options, Site
from service.replay.spill import Spill

_SQL: Final = Path(__file__).parent
_COUNTED_AT_ONCE: Final = 1_000_000


class Misnamed(msgspec.Struct, frozen=True, kw_only=True):
    """A root with other ids in the outbox than the log yields."""

    root: str
    expected: str | None
    """The first id that parts them; null where the log yields no more."""
    found: str | None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found."""

    compared: Compared
    events: int
    """Records of the outbox since the last swap."""
    events_to: int
    """Its last position that was looked at: where it ended when this began, also if that was killed once."""
    misnamed: int
    """Roots whose ids there are not those that the log yields."""
    misnamed_listed: list[Misnamed]
    quarantine_untold: list[int]
    """Positions of quarantined deliveries that nobody was told of."""
    quarantine_overtold: list[int]
    """Positions of deliveries whose quarantine was told of twice, or without cause."""

    @property
    def holds(self) -> bool:
        return self.compared.equal and not (
            self.misnamed or self.quarantine_untold or self.quarantine_overtold
        )


async def verify(site: Site, options: Options, *, listed_max: int) -> Verified:
    """Verify the live states and the outbox.

    Raises InvariantError where a log itself is damaged, or another version of the fold owns the states.
    """
    await _check_version(site)
    await build(site, options, keep_facts=True)
    compared = await compare(site, listed_max=listed_max)
    events = await _check_ids(site, options)
    found = await _found(site, compared, events, listed_max)
    await shadow.drop(site.owner, site.goal.schema)
    Spill(site.progress.folder, site.progress.buckets).remove()
    return found


async def _check_version(site: Site) -> None:
    held = await site.positions.hold(site.owner)
    others = held.fold_versions - {site.goal.fold_version}
    if others:
        raise InvariantError(
            f"the live states were folded by version {', '.join(sorted(others))}, this code folds by "
            f"{site.goal.fold_version}: `recibo replay rebuild --compare` shows what that changes"
        )


async def _check_ids(site: Site, options: Options) -> int:
    since = site.progress.since
    assert since is not None
    await _check_dense(site, since.event_position)
    events = since.event_end - since.event_position
    strip_rows = site.progress.strip_rows
    strips = -(-events // strip_rows)
    done = {row["number"] for row in await site.writer.fetch(statement(_SQL, "read_event_strips"))}
    told = Teller(site.tell, "checking ids", events, len(done) * strip_rows).rows
    async with crew(task_of(site, options), processes=options.processes) as workers:
        await workers.run((EventStrip(number) for number in range(strips) if number not in done), told)
        compared = Teller(site.tell, "comparing ids", site.progress.buckets, 0)
        await workers.run((Ids(number) for number in range(site.progress.buckets)), lambda _: compared.add(1))
    return events


async def _check_dense(site: Site, event_position: int) -> None:
    """Count the records of the outbox up to `event_position`; those after it are read one by one.

    A million in each transaction: one long one over the log would keep the head row's dead versions.
    """
    told = Teller(site.tell, "counting events", event_position, 0)
    for after in range(0, event_position, _COUNTED_AT_ONCE):
        end = min(after + _COUNTED_AT_ONCE, event_position)
        if await site.reader.fetchval(statement(_SQL, "count_events"), after, end) != end - after:
            raise holes("event log", after)
        told.add(end - after)


async def _found(site: Site, compared: Compared, events: int, listed_max: int) -> Verified:
    since, vector = site.progress.since, site.progress.vector
    assert since is not None
    misnamed = await site.owner.fetch(statement(_SQL, "misnamed_roots"), max(1, listed_max))
    untold = await site.owner.fetch(
        statement(_SQL, "quarantine_untold"),
        site.goal.log,
        msgspec.json.encode(since.positions).decode(),
        msgspec.json.encode(vector).decode(),
    )
    overtold = await site.owner.fetch(statement(_SQL, "quarantine_overtold"), site.goal.log)
    return Verified(
        compared=compared,
        events=events,
        events_to=since.event_end,
        misnamed=misnamed[0]["roots"] if misnamed else 0,
        misnamed_listed=[
            Misnamed(root=row["root"], expected=row["expected"], found=row["found"])
            for row in misnamed[:listed_max]
        ],
        quarantine_untold=[row["position"] for row in untold],
        quarantine_overtold=[row["position"] for row in overtold],
    )
