"""Waiting: for a time that a shutdown can end, for a store that is away, and never without end.

A store that is away stops no stage. It tries again, at first soon, then ever more seldom up to a cap,
and with jitter, so that not all come back at one instant; and it says so twice, when the waiting begins
and when it ends, not at every try.
"""

import asyncio
import datetime as dt
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Literal

import asyncpg
import structlog
from aiokafka.errors import KafkaError

from service import telemetry
from service.errors import ReciboError, TransientError

logger = structlog.get_logger()

Store = Literal["postgres", "kafka"]

WAIT_S_MAX: Final = 4.0
"""The cap: a store that is back is seen within this time, however long it was away."""


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Return after `seconds`, or at once when `stopping` is set."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


async def either(first: asyncio.Event, second: asyncio.Event) -> None:
    """Return when one of them is set."""
    waiters = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()


def store_of(error: BaseException) -> Store | None:
    """The store that `error` tells to be away; null where it tells of something else."""
    if isinstance(error, TransientError):
        return error.store
    if isinstance(error, KafkaError):
        return "kafka"
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return "postgres"
    return None


@asynccontextmanager
async def answered_within(seconds: float, store: Store, what: str) -> AsyncIterator[None]:
    """Raise TransientError, which says that `store` does not `what`, where the context takes longer."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise TransientError(f"{store.capitalize()} does not {what}", store=store) from error


class Waiting:
    """What one role waits for, how long already, and when it tries again."""

    def __init__(self, role: str, *, first_s: float = 0.25, longest_s: float = WAIT_S_MAX) -> None:
        self._role = role
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s
        self._store: Store | None = None
        self._since: float | None = None

    def details(self) -> Mapping[str, object]:
        """For `/health`: the store and since when, nothing while the role works."""
        if self._store is None or self._since is None:
            return {}
        since = dt.datetime.fromtimestamp(self._since, dt.UTC).isoformat(timespec="seconds")
        return {"waiting_for": self._store, "since": since}

    async def after(self, error: Exception, stopping: asyncio.Event) -> None:
        """Wait before the next try, longer each time; at once back when `stopping` is set."""
        self.began(error)
        # Half of it at least: what is left to chance keeps many roles from coming back as one.
        seconds = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  # No secret hangs on it.
        self._next_s = min(2 * self._next_s, self._longest_s)
        await pause(seconds, stopping)

    def began(self, error: Exception) -> None:
        """Say what the role waits for, once, by what went wrong."""
        store = store_of(error)
        told = str(error) if isinstance(error, ReciboError) else type(error).__name__
        if store is None:
            # No store is away: a bug, or a doubt that starting over clears up. Each one is told.
            logger.warning("role.started_over", role=self._role, error=told)
        elif store != self._store:
            if self._store is not None:
                telemetry.WAITING.labels(role=self._role, store=self._store).set(0)
            telemetry.WAITING.labels(role=self._role, store=store).set(1)
            self._store, self._since = store, self._since or time.time()
            logger.warning("store.away", role=self._role, store=store, detail=told)

    def over(self, store: Store | None = None) -> None:
        """Say that the role works again; with `store`, that this one is no longer what it waits for."""
        if store not in {None, self._store}:
            return
        self._next_s = self._first_s
        if self._store is None or self._since is None:
            return
        waited_s = round(time.time() - self._since, 1)
        logger.info("store.back", role=self._role, store=self._store, waited_s=waited_s)
        telemetry.WAITING.labels(role=self._role, store=self._store).set(0)
        self._store = self._since = None


STALLED_AFTER_S: Final = 30.0
"""By default; longer than any step of a role that works."""


class StalledError(TransientError):
    """A step of a role did not end in time: it is given up, and the role starts over."""


class Rounds:
    """Watches that the loop of one role comes round, whatever a library waits for without end.

    The role names each step before it begins; a step that takes longer than `stalled_after_s` is cancelled.
    """

    def __init__(self, role: str, *, stalled_after_s: float = STALLED_AFTER_S) -> None:
        self._role = role
        self._stalled_after_s = stalled_after_s
        self._step = "start"
        self._store: Store | None = None
        self._deadline: asyncio.Timeout | None = None
        self._stalled = telemetry.STALLED.labels(role=role)

    def step(self, name: str, store: Store | None = None) -> None:
        """Say what the role does from now on, and which store has to answer, and give that its time."""
        self._step, self._store = name, store
        if self._deadline is not None and not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._stalled_after_s)

    def came_round(self) -> None:
        """Say that the loop came round."""
        self._stalled.set(0)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Raise StalledError where a step inside the context takes too long, and tell of the step."""
        try:
            async with asyncio.timeout(self._stalled_after_s) as self._deadline:
                yield
        except TimeoutError as error:
            if self._deadline is None or not self._deadline.expired():
                raise
            raise self._given_up() from error
        finally:
            self._deadline = None

    def require_progress(self, since: float, step: str, store: Store) -> None:
        """Raise StalledError where `step`, which ends and begins again, led nowhere for too long.

        `since` is the monotonic time in seconds at which it last did.
        """
        if time.monotonic() - since > self._stalled_after_s:
            self._step, self._store = step, store
            raise self._given_up()

    def _given_up(self) -> StalledError:
        self._stalled.set(1)
        logger.error("role.stalled", role=self._role, step=self._step, after_s=self._stalled_after_s)
        return StalledError(f"{self._step} took over {self._stalled_after_s:g} s", store=self._store)
