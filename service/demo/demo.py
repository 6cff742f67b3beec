"""Everything started, the script sent over HTTP, what came of it read back and held against the script.

Out: a report on stdout, whose last line is one JSON object, whatever the way out. Leaving stops the roles
first, then the servers, also after Ctrl-C, SIGTERM or a failure; should this process die, the kernel ends
what it started.
"""

import asyncio
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import orjson
from rich.console import Console

from service import telemetry
from service.decisions import decide
from service.demo import report, roles
from service.demo.chapters import Chapter
from service.demo.found import find
from service.demo.place import Place, prepared
from service.demo.roles import Running
from service.demo.script import chapters
from service.demo.verdict import Exchange, shortfalls
from service.errors import InvariantError, PermanentError, TransientError
from service.kafka.headers import receipt
from service.localstack import running
from service.settings import Settings
from service.simulation import sender
from service.simulation.sender import Sender
from service.status import ask

_PLAIN_WIDTH: Final = 100
_SETTLE_S_MAX: Final = 60.0
_LOOK_INTERVAL_S: Final = 0.2
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The last line."""

    deliveries_sent: int = 0
    receipts: int = 0
    refused: int = 0
    quarantined: int = 0
    roots: int = 0
    domain_events: int = 0
    ok: bool = False
    """Whether all that the script promises happened, and nothing beside it."""


_UNDONE: Final = Summary()


def run(folder: Path, *, once: bool) -> None:
    """Perform the script in `folder`, then serve until Ctrl-C unless `once`.

    Raises InvariantError where something promised did not happen, another ReciboError where it could not
    be tried.
    """
    console = Console(emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    # What goes wrong is raised; a broker that does not know its new topics yet is no news.
    telemetry.configure(level="critical")
    summary = _UNDONE
    try:
        with _all(folder, console) as (place, started):
            summary = asyncio.run(_perform(place, started, console))
            if not once:
                console.print(report.address(place), markup=False, soft_wrap=True)
                _serve(started, console)
    except KeyboardInterrupt:
        if summary is _UNDONE:
            raise TransientError("stopped before it was done") from None
    finally:
        print(orjson.dumps(asdict(summary)).decode(), flush=True)
    if not summary.ok:
        raise InvariantError("what was promised did not all happen: it is listed above")


@contextmanager
def _all(folder: Path, console: Console) -> Iterator[tuple[Place, Sequence[Running]]]:
    """The servers and the roles, which end with the context, and undisturbed by a second Ctrl-C."""

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    _insist_on_a_folder_of_ours(folder)
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    with (
        running(folder, on_progress=say) as stack,
        prepared(folder, stack, say) as place,
        roles.running(place) as started,
    ):
        say(f"starting the roles {', '.join(role.name for role in started)}; their logs are in {folder}")
        try:
            yield place, started
        finally:
            _ignore_signals()
            say("stopping the roles, then the servers")


def _insist_on_a_folder_of_ours(folder: Path) -> None:
    # What an earlier run left there is removed: it had better be one.
    if folder.exists() and any(folder.iterdir()) and not (folder / "lock").exists():
        raise PermanentError(f"{folder} is not empty, and no demo's folder: name another one")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _ignore_signals()
    # It may come while an event loop is being made, or before its coroutine has begun: what is thrown away
    # halfway then complains, of nothing that matters any more.
    sys.unraisablehook = lambda _: None
    warnings.simplefilter("ignore", RuntimeWarning)
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


async def _perform(place: Place, started: Sequence[Running], console: Console) -> Summary:
    script = chapters()
    exchanges = await _send(script, place, started)
    await _settle(place.settings, started)
    decisions = await _decide(script, place.settings)
    await _settle(place.settings, started)
    found = await find(place.settings)
    missing = shortfalls(script, exchanges, found)
    for part in report.parts(script, exchanges, decisions, found):
        console.print(part)
    console.print(report.verdict(missing))
    return Summary(
        deliveries_sent=len(exchanges),
        receipts=sum(exchange.accepted for exchange in exchanges),
        refused=sum(exchange.refused for exchange in exchanges),
        quarantined=len(found.quarantined),
        roots=len(found.roots),
        domain_events=len(found.events),
        ok=not missing,
    )


async def _send(script: Sequence[Chapter], place: Place, started: Sequence[Running]) -> Sequence[Exchange]:
    async with sender.session(connections=1) as session:
        await roles.await_healthy(started, [f"{place.url}/health"], session)
        sending = Sender(session, place.url, place.settings.sources.values())
        # One after the other: so the log's positions are the same in every run.
        return [
            Exchange(delivery, await sending.send(delivery))
            for chapter in script
            for delivery in chapter.deliveries
        ]


async def _settle(settings: Settings, started: Sequence[Running]) -> None:
    deadline = time.monotonic() + _SETTLE_S_MAX
    while not (await ask(settings)).settled:
        roles.check(started)
        if time.monotonic() > deadline:
            raise TransientError(f"not all is applied within {_SETTLE_S_MAX:.0f} s: see the roles' logs")
        await asyncio.sleep(_LOOK_INTERVAL_S)


async def _decide(script: Sequence[Chapter], settings: Settings) -> Mapping[str, str]:
    """The receipts of the operator's decisions, each with what was decided."""
    decided = {}
    for chapter in script:
        if chapter.root is not None and chapter.decision is not None:
            position = await decide(settings.database.url, chapter.root, chapter.decision)
            name = receipt(settings.log_name, position)
            decided[name] = f"recibo dispute {chapter.root} {chapter.decision}"
    return decided


def _serve(started: Sequence[Running], console: Console) -> None:
    console.print("serving until Ctrl-C")
    while True:
        roles.check(started)
        time.sleep(_LOOK_INTERVAL_S)
