"""`recibo replay`: the states again, from the log: beside the live ones, as of any instant."""

import dataclasses
import os
import re
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import orjson
import typer
import uvloop

from projections.events import rfc3339
from service import garbage
from service.cli import settings
from service.cli.progress import bar
from service.cli.show import EffectiveAtOption, KnownAtOption
from service.errors import InvariantError, PermanentError
from service.eventlog import head
from service.kafka.headers import receipt
from service.replay import as_of as looking
from service.replay import instants, shadow
from service.replay import site as sites
from service.replay import swap as swapping
from service.replay import verify as verifying
from service.replay.compare import compare as compare_with_live
from service.replay.goal import PREVIOUS, SHADOW, Goal
from service.replay.rebuild import build
from service.replay.site import Options, Site
from service.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The states again, from the log.")

_PROCESSES: Final = min(2, os.cpu_count() or 1)
_SPILL_FOLDER: Final = Path(tempfile.gettempdir())

ListedOption = Annotated[int, typer.Option(min=0, max=10_000, help="Differences to list in full.")]
ProcessesOption = Annotated[int, typer.Option(min=1, max=64, help="Processes that read and fold.")]
SpillFolderOption = Annotated[
    Path, typer.Option(file_okay=False, help="Where facts wait on disk, some 600 bytes a delivery.")
]
StripRowsOption = Annotated[int, typer.Option(min=1, hidden=True)]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Drop what an earlier run left, and start anew.")
]


def register(parent: typer.Typer) -> None:
    """Mount the commands."""
    parent.add_typer(app, name="replay")


@app.command()
def rebuild(
    *,
    compare: Annotated[bool, typer.Option("--compare", help="Hold every root against the live one.")] = False,
    swap: Annotated[bool, typer.Option("--swap", help="Make the rebuilt states the live ones.")] = False,
    publish_amendments: Annotated[
        bool, typer.Option("--publish-amendments", help="With --swap: tell of what it changes, as events.")
    ] = False,
    state_lost: Annotated[
        bool, typer.Option("--state-lost", help="There are no live states left: fold the whole log.")
    ] = False,
    listed: ListedOption = 20,
    processes: ProcessesOption = _PROCESSES,
    spill_folder: SpillFolderOption = _SPILL_FOLDER,
    strip_rows: StripRowsOption = sites.STRIP_ROWS,
    restart: RestartOption = False,
) -> None:
    """Rebuild all states from the log into a shadow schema, beside the live ones. Tells nobody anything.

    Needs the owner's login (RECIBO_MIGRATION_DATABASE_URL). A killed run goes on where it was when it is run
    again. The last line is a JSON summary.
    """
    if publish_amendments and not swap:
        raise typer.BadParameter("belongs to --swap", param_hint="--publish-amendments")
    loaded = settings.load()
    goal = Goal(
        purpose="rebuild",
        schema=SHADOW,
        log=loaded.log_name,
        reading=loaded.reading,
        state_lost=state_lost,
    )

    async def run(options: Options) -> dict[str, Any]:
        if swap:
            # Before anything is made: a rebuild takes long.
            async with sites.owner_of(options.owner_url) as owner:
                await swapping.check_previous(owner)
                await shadow.refuse_losses(owner, await shadow.live_schema(owner))
        async with sites.site(goal, options) as site:
            summary = await _built(site, options)
            if compare:
                compared = await compare_with_live(site, listed_max=listed)
                summary["compared"] = compared
            if swap:
                summary["swapped"] = await swapping.swap(site, publish_amendments=publish_amendments)
        return summary

    with bar() as tell:
        options = _options(loaded, spill_folder, processes, restart=restart, tell=tell)
        summary = _run(run(dataclasses.replace(options, strip_rows=strip_rows)))
    _tell(summary)


@app.command()
def verify(
    *,
    listed: ListedOption = 20,
    processes: ProcessesOption = _PROCESSES,
    spill_folder: SpillFolderOption = _SPILL_FOLDER,
    restart: RestartOption = False,
) -> None:
    """Rebuild and compare in one go; also the logs' positions, the bodies' digests, the outbox's ids.

    For cron: exits with 0 if all holds, with 3 if something does not. Changes nothing live.
    """
    loaded = settings.load()
    goal = Goal(purpose="verify", schema=SHADOW, log=loaded.log_name, reading=loaded.reading)

    async def run(options: Options) -> tuple[dict[str, Any], bool]:
        async with sites.site(goal, options) as site:
            verified = await verifying.verify(site, options, listed_max=listed)
            return {"purpose": "verify", **site.counts, **msgspec.structs.asdict(verified)}, verified.holds

    with bar() as tell:
        options = _options(loaded, spill_folder, processes, restart=restart, tell=tell)
        summary, holds = _run(run(options))
    _tell(summary | {"holds": holds})
    if not holds:
        raise InvariantError(
            "what is live is not what the log says: see the summary; `recibo replay rebuild --swap` would "
            "replace it"
        )


@app.command("as-of")
def as_of(
    *,
    into: Annotated[
        str, typer.Option(metavar="SCHEMA", help="The schema to make, with tables like the live ones.")
    ],
    known_at: KnownAtOption = None,
    effective_at: EffectiveAtOption = None,
    processes: ProcessesOption = _PROCESSES,
    spill_folder: SpillFolderOption = _SPILL_FOLDER,
    restart: RestartOption = False,
) -> None:
    """Put the states of all roots as of an instant into a new schema, which the role recibo_analyst may read.

    Needs the owner's login (RECIBO_MIGRATION_DATABASE_URL). Drop the schema when it is not needed any more.
    """
    if not re.fullmatch(r"(?!pg_|recibo_|public$|analyst$)[a-z][a-z0-9_]{0,62}", into):
        raise typer.BadParameter(
            "takes a new name of a-z, 0-9 and _, not public, analyst, pg_… or recibo_…", param_hint="--into"
        )
    loaded = settings.load()
    known = None if known_at is None else instants.parsed(known_at)
    effective = None if effective_at is None else instants.parsed(effective_at)

    async def run(options: Options) -> dict[str, Any]:
        goal = await _goal_as_of(loaded, into, known, effective, restart=restart)
        async with sites.site(goal, options) as site:
            summary = await _built(site, options)
            await shadow.finish(site.writer, into, _told(goal))
        return {**summary, "position": goal.position}

    with bar() as tell:
        options = _options(loaded, spill_folder, processes, restart=restart, tell=tell)
        summary = _run(run(options))
    _tell(summary)


async def _goal_as_of(
    loaded: Settings, into: str, known: int | None, effective: int | None, *, restart: bool
) -> Goal:
    owner_url = loaded.database.migration_url
    # Without an instant a killed run goes on to where the log ended when it began.
    resumed = None if known is not None or restart else await sites.end_left(owner_url, into)
    async with sites.owner_of(owner_url) as owner:
        if effective is not None:
            await looking.check_not_future(owner, effective)
        if known is not None:
            position = await looking.position_at(owner, known)
        else:
            position = await head.position(owner, "deliveries") if resumed is None else resumed
    return Goal(
        purpose="as_of",
        schema=into,
        log=loaded.log_name,
        reading=loaded.reading,
        position=position,
        of_now=known is None,
        effective_at=effective,
    )


def _told(goal: Goal) -> str:
    effective = "" if goal.effective_at is None else f", what had happened by {rfc3339(goal.effective_at)}"
    return f"As of {receipt(goal.log, goal.position or 0)}{effective}; folded by {goal.fold_version}."


@app.command("drop-previous")
def drop_previous() -> None:
    """Drop the states that were live before the last swap."""
    _run(_drop(settings.load(), PREVIOUS))


@app.command("drop-shadow")
def drop_shadow() -> None:
    """Drop what a rebuild or a verification left that is not to be finished."""
    _run(_drop_shadow(settings.load()))


async def _drop_shadow(loaded: Settings) -> None:
    if not await sites.discard(loaded.database.migration_url, SHADOW):
        raise PermanentError(f"there is no schema {SHADOW}: nothing to drop")


async def _drop(loaded: Settings, schema: str) -> None:
    async with sites.owner_of(loaded.database.migration_url) as owner:
        if not await shadow.exists(owner, schema):
            raise PermanentError(f"there is no schema {schema}: nothing to drop")
        await shadow.drop(owner, schema)


async def _built(site: Site, options: Options) -> dict[str, Any]:
    started = time.perf_counter()
    await build(site, options)
    seconds = time.perf_counter() - started
    return {
        "purpose": site.goal.purpose,
        "schema": site.goal.schema,
        "fold_version": site.goal.fold_version,
        **site.counts,
        "seconds": round(seconds, 1),
        "per_second": round(site.counts["rows"] / seconds),
    }


def _options(loaded: Settings, folder: Path, processes: int, *, restart: bool, tell: sites.Tell) -> Options:
    return Options(
        database_url=loaded.database.url,
        owner_url=loaded.database.migration_url,
        spill_folder=folder,
        processes=processes,
        restart=restart,
        tell=tell,
    )


def _run(what: Coroutine[Any, Any, Any]) -> Any:
    garbage.collect_rarely()
    return uvloop.run(what)


def _tell(summary: dict[str, Any]) -> None:
    typer.echo(orjson.dumps(summary, default=_plain, option=orjson.OPT_NON_STR_KEYS).decode())


def _plain(value: object) -> object:
    return msgspec.to_builtins(value)
