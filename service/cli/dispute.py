"""`recibo dispute`: say what no provider says, that a dispute is lost, or closed."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from service.cli import settings
from service.decisions import decide
from service.kafka.headers import receipt


class Decision(StrEnum):
    """What an operator can say of a dispute."""

    LOST = "lost"
    CLOSED = "closed"


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(dispute)


def dispute(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="The order, ACCOUNT:order:ID.")],
    decision: Annotated[Decision, typer.Argument(metavar="DECISION", help="How it ended: lost or closed.")],
    ordinal: Annotated[
        int | None,
        typer.Option(min=1, help="Which dispute of the order; else the latest that waits for a decision."),
    ] = None,
    note: Annotated[
        str | None, typer.Option(help="Kept with the decision in the log, shown nowhere.")
    ] = None,
) -> None:
    """Decide a dispute, through the log: the projector applies it like any delivery."""
    loaded = settings.load()
    position = asyncio.run(decide(loaded.database.url, root, decision.value, ordinal=ordinal, note=note))
    typer.echo(f"{receipt(loaded.log_name, position)}: {root} {decision.value}")
