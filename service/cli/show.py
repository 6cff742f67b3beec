"""`recibo show`: one root, its timeline and its state, now or as of any instant."""

import sys
from typing import Annotated, Any, Final

import msgspec
import orjson
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from projections.events import rfc3339
from service.cli import settings
from service.errors import InvariantError, TransientError
from service.kafka.headers import receipt
from service.postgres import connect, sorted_errors
from service.replay import as_of, instants
from service.replay.as_of import Entry, Seen
from service.settings import Settings

_PLAIN_WIDTH: Final = 200

KnownAtOption = Annotated[
    str | None,
    typer.Option(
        metavar="INSTANT",
        help="As of what had been received by then. Without an offset it is the time of "
        f"{instants.ZONE}; a day is its end.",
    ),
]
EffectiveAtOption = Annotated[
    str | None, typer.Option(metavar="INSTANT", help="As of what had happened by then.")
]


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(show)


def show(
    root: Annotated[str, typer.Argument(metavar="ROOT", help="ACCOUNT:order:ID, and so on.")],
    *,
    known_at: KnownAtOption = None,
    effective_at: EffectiveAtOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Show what the log tells of one root, and what is true by it; what was not yet known is marked.

    Reads the log from its beginning, with today's code. Changes nothing.
    """
    loaded = settings.load()
    found = uvloop.run(_seen(loaded, root, known_at, effective_at))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
        console.print(_table(found, loaded.log_name))
        for state in _states(found):
            console.print(orjson.dumps(state, option=orjson.OPT_INDENT_2).decode(), markup=False)
    if found.fault:
        raise InvariantError(
            f"what is true of {root} cannot be told: its fold fails ({found.fault}); its deliveries wait in "
            "`recibo parked list` until a release mends that"
        )


async def _seen(loaded: Settings, root: str, known_at: str | None, effective_at: str | None) -> Seen:
    known = None if known_at is None else instants.parsed(known_at)
    effective = None if effective_at is None else instants.parsed(effective_at)
    connection = await connect(loaded.database.url, application="show")
    try:
        with sorted_errors(lost=TransientError):
            if effective is not None:
                await as_of.check_not_future(connection, effective)
            return await as_of.seen(
                connection,
                root,
                reading=loaded.reading,
                position=None if known is None else await as_of.position_at(connection, known),
                effective_at=effective,
            )
    finally:
        await connection.close()


def _table(found: Seen, log: str) -> Table:
    table = Table("occurred", "says", "word", "amount", "provider", "receipt", "received", "")
    for entry in found.entries:
        fact = entry.fact
        table.add_row(
            rfc3339(fact.occurred_at) + ("" if fact.dated else " (undated)"),
            fact.status or "",
            fact.word,
            "" if fact.amount_cents is None else f"{fact.amount_cents:,} {fact.currency or ''}".strip(),
            fact.provider,
            receipt(log, entry.position),
            rfc3339(entry.recorded_at),
            _mark(entry),
            style=None if entry.counts else "dim",
        )
    table.title = f"{found.root} as of {receipt(log, found.position)}"
    return table


def _mark(entry: Entry) -> str:
    if not entry.known:
        return "not yet known"
    if not entry.happened:
        return "not yet happened"
    return "" if entry.counts else "dated anew"


def _states(found: Seen) -> list[dict[str, Any]]:
    states = found.states
    own = (states.order, states.subscription, states.withdrawal, states.cart)
    return [msgspec.to_builtins(state) for state in (*own, *states.disputes) if state is not None]
