"""`recibo replay parquet` and `recibo replay spark`: states out of an exported folder alone."""

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from projections.events import rfc3339
from service.cli import replay
from service.cli.progress import bar
from service.cli.show import EffectiveAtOption, KnownAtOption
from service.errors import InvariantError, PermanentError
from service.extras import extra
from service.replay import instants

if TYPE_CHECKING:
    from service.exported.directory import Directory
    from service.exported.fold import Folded
    from service.exported.manifest import AsOf, Manifest

    Fold = Callable[[Directory, Manifest, Directory | None, AsOf], Folded]

Exported = Annotated[str, typer.Argument(metavar="FOLDER_OR_URL", help="What `recibo export` wrote.")]
Into = Annotated[
    str | None, typer.Option(metavar="FOLDER_OR_URL", help="Write the states there. [default: compare only]")
]


def register(_parent: typer.Typer) -> None:
    """Mount the commands beside those that read the log."""
    for command in (parquet, spark):
        replay.app.command()(command)


def parquet(
    folder: Exported,
    *,
    processes: Annotated[
        int, typer.Option(min=1, help="[default: the cores]", show_default=False)
    ] = os.cpu_count() or 1,
    into: Into = None,
    known_at: KnownAtOption = None,
    effective_at: EffectiveAtOption = None,
) -> None:
    """Fold an exported folder on this machine's cores; prints one JSON object.

    The states are equal to the exported ones, byte for byte, unless an instant is asked for.
    """
    with extra("analysts"):
        from service.exported import pool  # noqa: PLC0415  It needs the extra.

    def fold(
        opened: "Directory", manifest: "Manifest", target: "Directory | None", as_of: "AsOf"
    ) -> "Folded":
        total = manifest.rows().get("facts", 0)
        with bar() as show:
            return pool.fold(
                opened,
                manifest,
                processes=processes,
                into=target,
                as_of=as_of,
                told=lambda sofar: show("folding", sofar.rows, total),
            )

    _replay(fold, folder, into=into, known_at=known_at, effective_at=effective_at)


def spark(
    folder: Exported,
    *,
    master: Annotated[
        str | None, typer.Option(help="Spark's master URL. [default: spark-submit's, else local[*]]")
    ] = None,
    into: Into = None,
    known_at: KnownAtOption = None,
    effective_at: EffectiveAtOption = None,
) -> None:
    """Fold an exported folder on Apache Spark; prints one JSON object.

    Every executor must reach FOLDER_OR_URL by that name, and have recibo[analysts] installed.
    """
    with extra("spark"):
        from service.exported import spark as cluster  # noqa: PLC0415  It needs the extra.

    def fold(
        opened: "Directory", manifest: "Manifest", target: "Directory | None", as_of: "AsOf"
    ) -> "Folded":
        with cluster.session(master) as session:
            return cluster.fold(session, opened, manifest, into=target, as_of=as_of)

    _replay(fold, folder, into=into, known_at=known_at, effective_at=effective_at)


def _replay(
    fold: "Fold", url: str, *, into: str | None, known_at: str | None, effective_at: str | None
) -> None:
    """Fold, end the folder that the states go to, say what came of it."""
    with extra("analysts"):
        from service.exported.directory import Directory, states_directory  # noqa: PLC0415
        from service.exported.manifest import NOW, AsOf  # noqa: PLC0415
    folder = Directory(url)
    manifest = folder.export()
    if not manifest.ranges:
        raise PermanentError(f"{url} holds no facts, only states: name the folder that `recibo export` wrote")
    as_of = AsOf(
        known_at=None if known_at is None else instants.parsed(known_at),
        effective_at=None if effective_at is None else instants.parsed(effective_at),
    )
    _check(as_of, manifest, url)
    target = None if into is None else states_directory(into)
    started = time.monotonic()
    folded = fold(folder, manifest, target, as_of)
    seconds = time.monotonic() - started
    if target is not None:
        target.end(manifest.states_alone(folded.files, folded.unfolded, as_of))
    is_comparable = as_of == NOW and manifest.states_at == manifest.last
    equal = sorted(folded.contents) == manifest.contents() if is_comparable else None
    document = {
        "folder": url,
        "last_position": manifest.last,
        "rows": folded.rows,
        "roots": folded.roots,
        "states": folded.states,
        "unfolded": [one.root for one in folded.unfolded],
        "equal": equal,
        "seconds": round(seconds, 3),
        "per_second": round(folded.rows / seconds),
    }
    typer.echo(orjson.dumps(document))
    if equal is False:
        raise InvariantError(
            f"the states in {url} are not those that its facts fold to: export to a new folder"
        )


def _check(as_of: "AsOf", manifest: "Manifest", url: str) -> None:
    """Raise PermanentError for an instant of which the folder cannot tell anything."""
    for instant in (as_of.known_at, as_of.effective_at):
        if instant is not None:
            instants.check_not_future(instant, now=time.time_ns())
    if as_of.known_at is None:
        return
    instants.check_in_log(as_of.known_at, began_at=manifest.origin.began_at)
    ended_at = manifest.ranges[-1].ended_at
    if as_of.known_at > ended_at:
        raise PermanentError(
            f"{url} ends with what was received at {rfc3339(ended_at)}, before {rfc3339(as_of.known_at)}: "
            "leave --known-at out, or export again"
        )
