"""Act as the providers for a while: a rate, a mixture of faults, and a count of what came back.

In: settings, of which the sources are read, and what to send. Out: a summary; beside it the ledger. A
crash leaves the ledger whole up to the requests under way, and the receiver as any sender's would.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import aiohttp

from service.errors import InvariantError, PermanentError, TransientError
from service.settings import Settings, Source
from service.simulation import ledger, scenarios, sender
from service.simulation.ledger import Ledger
from service.simulation.mixing import Delivery, Mixture
from service.simulation.sender import ATTEMPTS_MAX, Answer, Sender
from service.simulation.signing import forge

_PROGRESS_INTERVAL_S: Final = 0.1
_SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to send, where to, and how much of it goes wrong."""

    url: str
    seed: int
    mixture: Mixture
    rate: float = 0.0
    """Deliveries a second; 0: as fast as they are answered."""
    duration_s: float | None = None
    count: int | None = None
    """Deliveries, tries of one not counted; with neither limit it goes on until stopped."""
    sources: Sequence[str] = ()
    """Names; all that are declared where none is given."""
    ledger: Path | None = None
    connections: int = 32
    """Requests under way at a time, at most."""
    attempts_max: int = ATTEMPTS_MAX


@dataclass(slots=True)
class Summary:
    """What was sent so far, and what came back."""

    seconds: float = 0.0
    deliveries: int = 0
    """Each copy is one; tries of one are not counted."""
    attempts: int = 0
    """Requests."""
    answers: Counter[str] = field(default_factory=Counter)
    """Last answers by status, or by the name of the error."""
    mutations: Counter[str] = field(default_factory=Counter)
    receipts: int = 0
    quarantined: int = 0
    """Of the receipts: those that said so at once."""
    forged_accepted: int = 0
    """Above zero, somebody got in who should not."""
    unanswered: int = 0
    """Genuine deliveries that got no receipt in any try."""

    def take(self, delivery: Delivery, answer: Answer) -> None:
        """Count one delivery with its last answer."""
        accepted = answer.status is not None and answer.status in _SUCCESS
        self.deliveries += 1
        self.attempts += answer.attempts
        self.answers[str(answer.status) if answer.error is None else answer.error] += 1
        self.mutations[delivery.mutation] += 1
        self.receipts += accepted
        self.quarantined += answer.quarantined is not None
        if delivery.mutation == "forged":
            self.forged_accepted += accepted
        else:
            self.unanswered += not accepted


async def simulate(
    settings: Settings,
    options: Options,
    on_progress: Callable[[Summary], None],
    *,
    stopping: asyncio.Event | None = None,
) -> Summary:
    """Send until a limit of `options` is reached or `stopping` is set.

    Raises PermanentError for what cannot be sent, TransientError where no ingress answers at the
    address or a genuine delivery got no receipt, InvariantError if a forged one did.
    """
    sources = _chosen(settings, options)
    async with sender.session(connections=options.connections) as session, _ledger(options) as kept:
        await _greet(session, options.url)
        sending = Sender(session, options.url, sources, ledger=kept, attempts_max=options.attempts_max)
        run = _Run(sending, _deliveries(sources, options), options, on_progress, stopping)
        return _judged(await run.whole())


class _Run:
    """One simulation: as many workers as connections draw from one stream, at one pace."""

    def __init__(
        self,
        sending: Sender,
        deliveries: Iterator[Delivery],
        options: Options,
        on_progress: Callable[[Summary], None],
        stopping: asyncio.Event | None,
    ) -> None:
        self._sender = sending
        self._deliveries = deliveries
        self._options = options
        self._on_progress = on_progress
        self._stopping = stopping or asyncio.Event()
        self._summary = Summary()
        self._drawn = 0
        self._started = 0.0
        self._told = 0.0

    async def whole(self) -> Summary:
        self._started = self._told = asyncio.get_running_loop().time()
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self._options.connections):
                    workers.create_task(self._work())
        except* (PermanentError, TransientError) as failed:
            # Whichever came first: they say the same.
            raise failed.exceptions[0] from None
        self._summary.seconds = self._elapsed()
        self._on_progress(self._summary)
        return self._summary

    async def _work(self) -> None:
        while await self._due():
            delivery = next(self._deliveries, None)
            if delivery is None:
                return
            self._summary.take(delivery, await self._sender.send(delivery))
            self._tell()

    async def _due(self) -> bool:
        """Wait for the next delivery's turn; false where there is none any more."""
        if self._options.rate:
            due_s = self._drawn / self._options.rate
            self._drawn += 1
            if due_s >= (self._options.duration_s or float("inf")):
                return False
            if (wait_s := due_s - self._elapsed()) > 0:
                await self._stopped_within(wait_s)
        return not self._stopping.is_set() and self._elapsed() < (self._options.duration_s or float("inf"))

    async def _stopped_within(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _elapsed(self) -> float:
        return asyncio.get_running_loop().time() - self._started

    def _tell(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told >= _PROGRESS_INTERVAL_S:
            self._told = now
            self._summary.seconds = now - self._started
            self._on_progress(self._summary)


def _chosen(settings: Settings, options: Options) -> list[Source]:
    names = options.sources or sorted(settings.sources)
    strange = [name for name in names if name not in settings.sources]
    if strange or not names:
        known = ", ".join(sorted(settings.sources)) or "none"
        raise PermanentError(f"no source {', '.join(strange) or 'at all'} in recibo.toml: there are {known}")
    if faults := options.mixture.faults():
        raise PermanentError("; ".join(faults))
    sources = [settings.sources[name] for name in names]
    if options.mixture.forged and not any(map(forge, sources)):
        raise PermanentError(
            "none of the sources checks a secret, so none can be forged: leave --forged at 0"
        )
    return sources


def _deliveries(sources: Sequence[Source], options: Options) -> Iterator[Delivery]:
    endless = scenarios.deliveries(
        options.seed,
        [(source.name, source.provider) for source in sources],
        options.mixture,
        forgeable=frozenset(source.name for source in sources if forge(source) is not None),
    )
    return islice(endless, options.count)


@asynccontextmanager
async def _ledger(options: Options) -> AsyncIterator[Ledger | None]:
    if options.ledger is None:
        yield None
    else:
        async with ledger.opened(options.ledger) as kept:
            yield kept


async def _greet(session: aiohttp.ClientSession, url: str) -> None:
    try:
        async with session.get(f"{url.rstrip('/')}/health") as answer:
            found = answer.status == 200  # noqa: PLR2004  The word for it is the status.
    except (aiohttp.ClientError, TimeoutError, ValueError):
        found = False
    if not found:
        raise TransientError(
            f"no ingress answers at {url}: start one (recibo serve ingress), or name its --url"
        )


def _judged(summary: Summary) -> Summary:
    if summary.forged_accepted:
        raise InvariantError(f"{summary.forged_accepted} forged deliveries got a receipt: look at the checks")
    if summary.unanswered:
        raise TransientError(f"{summary.unanswered} deliveries got no receipt in any try: see the answers")
    return summary
