"""`recibo export`: the log, the facts and the states as Parquet; whether such a folder is whole."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.table import Table

from service.cli import settings
from service.cli.progress import bar
from service.errors import InvariantError
from service.extras import extra
from service.postgres import connect
from service.settings import Settings

if TYPE_CHECKING:
    from service.export.export import Exported, Options
    from service.exported.directory import Directory
    from service.exported.manifest import Manifest

_FAULTS_SHOWN_MAX: Final = 20
_CLOSE_TIMEOUT_S: Final = 5.0


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(export)


def export(
    folder: Annotated[str, typer.Argument(metavar="FOLDER_OR_URL", help="A folder, or what fsspec knows.")],
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Export nothing: compare the folder with its manifest.")
    ] = False,
    duckdb: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write a DuckDB file with views over the folder.")
    ] = None,
    with_personal_data: Annotated[
        bool, typer.Option("--with-personal-data", help="Raw bodies, headers and addresses, too.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=1, help="That fold the states. [default: the cores]", show_default=False)
    ] = os.cpu_count() or 1,
    buckets: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Of the first export; later ones keep them.")
    ] = None,
    range_positions: Annotated[
        int | None, typer.Option(min=1, help="That are sealed together; of the first export.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Export the log, the facts and the states as Parquet; again, to add what is new.

    What a killed export left is finished or removed by the next one. `--check` exits with 3 and names
    every file that is missing, changed or cut short.
    """
    with extra("analysts"):
        from service.export.export import Options  # noqa: PLC0415  They need the extra.
        from service.exported.directory import Directory  # noqa: PLC0415
        from service.exported.manifest import Layout  # noqa: PLC0415
    opened = Directory(folder)
    if check:
        _check(opened, as_json=as_json)
        return
    known = opened.manifest()
    had = Layout() if known is None else known.layout
    layout = Layout(buckets=buckets or had.buckets, range_positions=range_positions or had.range_positions)
    options = Options(
        personal_data=with_personal_data,
        layout=layout if buckets or range_positions else None,
        processes=processes,
    )
    started = time.monotonic()
    exported = asyncio.run(_export(settings.load(), opened, options, quiet=as_json))
    if duckdb is not None:
        _write_duckdb(opened, duckdb)
    _tell(_document(opened, exported, time.monotonic() - started), as_json=as_json)


async def _export(loaded: Settings, folder: "Directory", options: "Options", *, quiet: bool) -> "Exported":
    from service.export.export import Export  # noqa: PLC0415
    from service.export.log import PostgresLog  # noqa: PLC0415

    connection = await connect(loaded.database.url, application="export")
    try:
        log = PostgresLog(connection, loaded.log_name)
        run = Export(log=log, folder=folder, reading=loaded.reading, options=options)
        with bar(quiet=quiet) as show:
            return await run.run(lambda progress: show(progress.doing, progress.done, progress.total))
    finally:
        await connection.close(timeout=_CLOSE_TIMEOUT_S)


def _check(folder: "Directory", *, as_json: bool) -> None:
    from service.exported import check  # noqa: PLC0415

    manifest = folder.export()
    total = sum(file.bytes for file in manifest.files)
    with bar(quiet=as_json) as show:
        faults = list(check.faults(folder, manifest, lambda done: show("comparing", done, total)))
    if as_json:
        typer.echo(orjson.dumps({**_held(folder, manifest), "faults": faults}))
    for fault in [] if as_json else faults[:_FAULTS_SHOWN_MAX]:
        typer.echo(fault, err=True)
    if faults:
        raise InvariantError(f"{folder.url} is not whole: {len(faults)} faults")
    if not as_json:
        typer.echo(f"{folder.url} is whole: positions 1 to {manifest.last}, {len(manifest.files)} files")


def _write_duckdb(folder: "Directory", path: Path) -> None:
    with extra("analysts"):
        from service.exported import duckdb  # noqa: PLC0415

    duckdb.write(folder, path)


def _held(folder: "Directory", manifest: "Manifest") -> dict[str, object]:
    return {
        "folder": folder.url,
        "log": manifest.origin.log,
        "last_position": manifest.last,
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files),
        "rows": manifest.rows(),
        "unfolded": [one.root for one in manifest.unfolded],
    }


def _document(folder: "Directory", exported: "Exported", seconds: float) -> dict[str, object]:
    return {
        **_held(folder, exported.manifest),
        "exported_now": exported.positions,
        "files_removed": exported.removed,
        "seconds": round(seconds, 3),
    }


def _tell(document: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(document))
        return
    table = Table("what", "now")
    for name, value in document.items():
        table.add_row(name.replace("_", " "), _shown(value))
    Console(soft_wrap=True).print(table)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {rows:,}" for name, rows in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
