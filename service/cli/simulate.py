"""`recibo simulate`: act as a provider, for a load, a fault or a first look."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.cli import settings
from service.settings import Settings
from service.simulation.mixing import Mixture
from service.simulation.simulate import Options, Summary
from service.simulation.simulate import simulate as run

_PLAIN_WIDTH = 100


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(simulate)


def simulate(
    *,
    url: Annotated[str, typer.Option(help="The ingress.")] = "http://127.0.0.1:8080",
    rate: Annotated[
        float, typer.Option(min=0, help="Deliveries a second; 0 sends as fast as they are answered.")
    ] = 100.0,
    duration: Annotated[
        float | None, typer.Option(min=0.001, help="Seconds. [default: 10, unless --count]")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many deliveries.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same deliveries, byte for byte.")] = 1,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share that comes twice.")] = 0.05,
    reordered: Annotated[float, typer.Option(min=0, max=1, help="Share that comes late.")] = 0.05,
    forged: Annotated[float, typer.Option(min=0, max=1, help="Share with a wrong secret.")] = 0.0,
    unknown: Annotated[float, typer.Option(min=0, max=1, help="Share that nobody documents.")] = 0.0,
    sources: Annotated[
        str, typer.Option(help="Names from recibo.toml, several by commas; all where empty.")
    ] = "",
    ledger: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write one fsynced JSON line per request to this new file."),
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="Requests under way at a time.")] = 32,
) -> None:
    """Act as the payment providers: send made-up lives of orders, authenticated as recibo.toml demands.

    Ids belong to the seed: take another one to make new orders instead of repeating the old. Ctrl-C ends
    early. Exits with 1 if a genuine delivery got no receipt, with 3 if a forged one did.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise typer.BadParameter("takes http://… or https://…", param_hint="--url")
    options = Options(
        url=url,
        seed=seed,
        mixture=Mixture(duplicates=duplicates, reordered=reordered, forged=forged, unknown=unknown),
        rate=rate,
        duration_s=10.0 if duration is None and count is None else duration,
        count=count,
        sources=[name.strip() for name in sources.split(",") if name.strip()],
        ledger=ledger,
        connections=connections,
    )
    uvloop.run(_simulate(settings.load(), options))


async def _simulate(loaded: Settings, options: Options) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    latest = Summary()
    with _progress(console) as progress:
        task = progress.add_task("sending", total=options.count or options.duration_s, told="")

        def show(summary: Summary) -> None:
            nonlocal latest
            latest = summary
            done = summary.deliveries if options.count else summary.seconds
            progress.update(task, completed=done, told=_told(summary))

        try:
            await run(loaded, options, show, stopping=stopping)
        finally:
            progress.stop()
            if latest.deliveries:
                console.print(_table(latest))


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[told]}"),
        console=console,
        transient=True,
    )


def _told(summary: Summary) -> str:
    answers = ", ".join(f"{count} x {answer}" for answer, count in sorted(summary.answers.items()))
    return f"{summary.deliveries:,} sent, {_rate(summary):,.0f}/s: {answers}"


def _rate(summary: Summary) -> float:
    return summary.deliveries / summary.seconds if summary.seconds else 0.0


def _table(summary: Summary) -> Table:
    table = Table("what", "count", "and that means")
    table.columns[1].justify = "right"
    for mutation, count in sorted(summary.mutations.items()):
        table.add_row(f"sent, {mutation}", f"{count:,}", _MEANINGS[mutation])
    table.add_row("sent, in all", f"{summary.deliveries:,}", f"{_rate(summary):,.0f} a second")
    table.add_row("requests", f"{summary.attempts:,}", "with the tries after 503 or no answer")
    table.add_section()
    for answer, count in sorted(summary.answers.items()):
        table.add_row(f"answer {answer}", f"{count:,}", "the last of each delivery")
    table.add_row("receipts", f"{summary.receipts:,}", "durable, says the ingress")
    table.add_row("of these quarantined", f"{summary.quarantined:,}", "kept, not understood at once")
    return table


_MEANINGS = {
    "none": "in order, once",
    "duplicate": "a second time, byte for byte",
    "late": "after what was sent later",
    "forged": "with a wrong secret: refused",
    "unknown": "a word that nobody documents: kept",
}
