"""`recibo quarantine` and `recibo parked`: what could not be read or folded, and trying again."""

import asyncio
from typing import Annotated, Final

import asyncpg
import typer
from rich.console import Console
from rich.table import Table

from service import wiring
from service.cli import settings
from service.errors import PermanentError, TransientError
from service.eventlog.deliveries import REFUSED
from service.eventlog.deliveries import refused as refused_deliveries
from service.kafka.headers import receipt
from service.postgres import connect, sorted_errors
from service.projector.retry import Retried
from service.readmodels import store
from service.settings import Settings

_SHOWN_MAX: Final = 10
"""Of a root's positions: hundreds would bury the reason."""

quarantine = typer.Typer(no_args_is_help=True, help="Deliveries that the code cannot interpret yet.")
parked = typer.Typer(no_args_is_help=True, help="Roots whose fold fails, with the deliveries that wait.")


def register(app: typer.Typer) -> None:
    """Mount both groups of commands."""
    app.add_typer(quarantine, name="quarantine")
    app.add_typer(parked, name="parked")


@quarantine.command("list")
def list_quarantined() -> None:
    """Show every quarantined delivery with its reason, disputes first, then the oldest.

    After them those that are no rows of the log, because Postgres refuses a value of each: their bytes are in
    the table refused_delivery.
    """
    loaded = settings.load()
    rows, refused = asyncio.run(_set_aside(loaded))
    # A word we do not know that speaks of a dispute is money: it comes first.
    rows.sort(key=lambda row: (not row["reason"].startswith("dispute:"), row["position"]))
    table = Table("receipt", "source", "provider", "root", "since", "reason")
    for row in rows:
        table.add_row(
            receipt(loaded.log_name, row["position"]),
            row["source"],
            row["provider"],
            row["root"] or "none",
            f"{row['quarantined_at']:%Y-%m-%d %H:%M:%S}Z",
            row["reason"],
        )
    for row in refused:
        table.add_row(
            receipt(REFUSED, row["number"]),
            row["source"],
            row["provider"],
            "none",
            f"{row['refused_at']:%Y-%m-%d %H:%M:%S}Z",
            f"Postgres refuses it as a row of the log ({row['sqlstate']}): "
            f"number {row['number']} of refused_delivery, {row['body_bytes']} bytes",
        )
    Console(soft_wrap=True).print(table if rows or refused else "the quarantine is empty")


@quarantine.command("retry")
def retry_quarantined(
    positions: Annotated[
        list[int] | None, typer.Argument(metavar="POSITION", help="Log positions; all without any.")
    ] = None,
) -> None:
    """Read quarantined deliveries again with today's code. The running projector is not disturbed."""
    _tell(asyncio.run(_retry_quarantined(settings.load(), positions)), "in quarantine or parked")


@parked.command("list")
def list_parked() -> None:
    """Show every parked root with the reason and the positions that wait."""
    rows = asyncio.run(_parked(settings.load()))
    table = Table("root", "since", "deliveries", "reason")
    for row in rows:
        waiting = ", ".join(map(str, row["positions"][:_SHOWN_MAX]))
        waiting += " …" if len(row["positions"]) > _SHOWN_MAX else ""
        table.add_row(row["root"], f"{row['parked_at']:%Y-%m-%d %H:%M:%S}Z", waiting, row["reason"])
    Console(soft_wrap=True).print(table if rows else "no root is parked")


@parked.command("retry")
def retry_parked(
    roots: Annotated[list[str] | None, typer.Argument(metavar="ROOT", help="Roots; all without any.")] = None,
) -> None:
    """Fold parked roots again with today's code; one that fails again stays parked."""
    _tell(asyncio.run(_retry_parked(settings.load(), roots)), "parked")


def _tell(retried: Retried, where: str) -> None:
    typer.echo(f"folded: {retried.folded}; still {where}: {retried.still}")


async def _set_aside(loaded: Settings) -> tuple[list[asyncpg.Record], list[asyncpg.Record]]:
    """The quarantined deliveries and the refused ones."""
    connection = await connect(loaded.database.url, application="quarantine")
    try:
        with sorted_errors(lost=TransientError):
            return await store.quarantined(connection, loaded.log_name), await refused_deliveries(connection)
    finally:
        await connection.close()


async def _parked(loaded: Settings) -> list[asyncpg.Record]:
    connection = await connect(loaded.database.url, application="parked")
    try:
        with sorted_errors(lost=TransientError):
            return await store.parked(connection, loaded.log_name)
    finally:
        await connection.close()


async def _retry_quarantined(loaded: Settings, positions: list[int] | None) -> Retried:
    quarantined, _ = await _set_aside(loaded)
    held = {row["position"] for row in quarantined}
    if strangers := sorted(set(positions or ()) - held):
        raise PermanentError(
            f"not in quarantine: {', '.join(map(str, strangers))} (see `recibo quarantine list`)"
        )
    async with wiring.retry(loaded) as retry:
        return await retry.quarantined(positions or None)


async def _retry_parked(loaded: Settings, roots: list[str] | None) -> Retried:
    held = [row["root"] for row in await _parked(loaded)]
    if strangers := sorted(set(roots or ()) - set(held)):
        raise PermanentError(f"not parked: {', '.join(strangers)} (see `recibo parked list`)")
    async with wiring.retry(loaded) as retry:
        return await retry.parked(roots or held)
