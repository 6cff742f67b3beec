"""`recibo status`: log head, relay and projector lag, what is set aside."""

import asyncio
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from service.cli import settings
from service.errors import TransientError
from service.status import Status, ask


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(status)


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for machines.")] = False,
) -> None:
    """Show how far the log, the relay and the projector are, and what is set aside.

    Exits with 1 while a server is away.
    """
    found = asyncio.run(ask(settings.load()))
    if as_json:
        typer.echo(orjson.dumps(_document(found)))
    else:
        Console(soft_wrap=True).print(_table(found))
    if found.faults:
        raise TransientError("; ".join(found.faults))


def _table(found: Status) -> Table:
    table = Table("what", "now", "and that means", title="recibo status")
    store = found.store
    table.add_row("Postgres", "ok" if store else "away", "if away: deliveries go to webhooks.spill")
    table.add_row(
        "Kafka", "away" if found.published is None else "ok", "if away: the log grows, nothing leaves it"
    )
    table.add_row("log head", _number(store.deliveries if store else None), "deliveries that got a receipt")
    table.add_row(
        "event log head", _number(store.events if store else None), "records for Kafka that follow from them"
    )
    table.add_row(
        "spilled, to drain", _number(found.to_drain()), "receipts in webhooks.spill, not in the log yet"
    )
    table.add_row("relay lag, deliveries", _number(found.relay_lag("deliveries")), "not in Kafka yet")
    table.add_row("projector lag", _number(found.projector_lag()), "positions not folded yet")
    table.add_row("relay lag, events", _number(found.relay_lag("events")), "not in Kafka yet")
    table.add_row("quarantined", _number(store.quarantined if store else None), "`recibo quarantine list`")
    table.add_row(
        "refused by Postgres",
        _number(store.refused if store else None),
        "kept apart; `recibo quarantine list`",
    )
    table.add_row("parked roots", _number(store.parked if store else None), "`recibo parked list`")
    return table


def _document(found: Status) -> dict[str, object]:
    store = found.store
    return {
        "postgres": "ok" if store else "away",
        "kafka": "ok" if found.published is not None else "away",
        "log_head": store and store.deliveries,
        "event_log_head": store and store.events,
        "to_drain": found.to_drain(),
        "spilled_ever": sum(found.spilled.values()) if found.published is not None else None,
        "relay_lag": {stream: found.relay_lag(stream) for stream in ("deliveries", "events")},
        "projector_lag": found.projector_lag(),
        "quarantined": store and store.quarantined,
        "refused": store and store.refused,
        "parked": store and store.parked,
        "settled": found.settled,
    }


def _number(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
