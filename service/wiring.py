"""The parts list: how pools, clients and stages are put together. The only module that knows them all.

Each function opens what its role needs for as long as its context lasts. A server that is away does
not keep a role from starting: every stage waits for its stores by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

from projections.fold import fold_version
from projections.providers import root_of
from service.eventlog.deliveries import DeliveryLog, server_gives_up_s
from service.ingress import app, server
from service.ingress.batch import GroupCommit
from service.ingress.lifeboat import Lifeboat
from service.kafka import administration, topics
from service.postgres import Pool, pool
from service.projector.member_name import MemberName
from service.projector.projector import Projector
from service.projector.retry import Retry
from service.projector.watermark import Watermark
from service.readmodels.apply import Folder
from service.readmodels.positions import Positions
from service.relay import partitions
from service.relay.relay import Relay
from service.relay.streams import Deliveries, Events, Stream
from service.runtime import Role
from service.settings import Settings
from service.spill.drainer import Drainer
from service.spill.writer import SpillWriter
from service.waiting import Waiting, pause

_DRAIN_GIVES_UP_S: Final = 60.0
"""Nobody waits for it: only a server that is gone for good should be given up."""

_PROJECTOR_GIVES_UP_S: Final = 30.0
"""Far more than a batch takes: a connection that died unnoticed must not keep a projector for ever."""

_STORES_WAITED_FOR_S: Final = 1.0
"""At the start, for each: the first delivery finds a connection open, and without Postgres Kafka ready."""


@asynccontextmanager
async def ingress(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """HTTP → log, or spill. Starts without either server, and goes on to the log without a usable spill."""
    timeout_s = settings.ingress.append_timeout_s
    async with _pool(settings, "ingress", statement_timeout_s=server_gives_up_s(timeout_s)) as opened:
        log = DeliveryLog(opened, timeout_s=timeout_s)
        spill = SpillWriter(
            bootstrap=settings.kafka.bootstrap,
            prefix=settings.kafka.topic_prefix,
            log=settings.log_name,
            stalled_after_s=settings.stalled_after_s,
        )
        lifeboat = Lifeboat(append=log.append, probe=log.probe, spill=spill, log_name=settings.log_name)
        batch = GroupCommit(lifeboat.keep, settings.ingress)

        def health() -> Mapping[str, object]:
            return {
                **batch.health(),
                **lifeboat.health(),
                **log.health(),
                **spill.health(),
                **_trusted(settings),
            }

        application = app.build(
            settings.sources.values(),
            append=batch.append,
            root_of=root_of,
            health=health,
            settings=settings.ingress,
        )
        answered = asyncio.Event()

        async def run(stopping: asyncio.Event) -> None:
            try:
                await pause(_STORES_WAITED_FOR_S, log.tried)
                await pause(_STORES_WAITED_FOR_S, spill.tried)
                await server.serve(application, stopping, drain=batch.drain, settings=settings.ingress)
            finally:
                answered.set()

        async def run_spill(_stopping: asyncio.Event) -> None:
            # Until the last delivery is answered: what is under way at SIGTERM may still need it.
            await spill.run(answered)

        yield [
            Role(name="ingress", run=run, health=health),
            Role(name="log", run=log.keep_ready, health=log.health),
            Role(name="spill", run=run_spill, health=spill.health),
            Role(name="lifeboat", run=lifeboat.run, health=lifeboat.health),
        ]


@asynccontextmanager
async def drain(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """Spill → log."""
    waiting = Waiting("drain")
    async with _pool(settings, "drain", statement_timeout_s=_DRAIN_GIVES_UP_S) as opened:
        drainer = Drainer(
            pool=opened,
            bootstrap=settings.kafka.bootstrap,
            prefix=settings.kafka.topic_prefix,
            log=settings.log_name,
            waiting=waiting,
            stalled_after_s=settings.stalled_after_s,
        )

        async def run(stopping: asyncio.Event) -> None:
            await _right_topics(settings, (topics.SPILL,), stopping, waiting)
            await drainer.run(stopping)

        def health() -> Mapping[str, object]:
            return {"to_drain": drainer.to_drain, **waiting.details(), **_trusted(settings)}

        yield [Role(name="drain", run=run, health=health)]


@asynccontextmanager
async def relay(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """Log → Kafka, for both logs; and the partitions that they grow into."""
    streams: Sequence[Stream] = (Deliveries(settings.log_name), Events())
    async with _pool(settings, "partitions", statement_timeout_s=partitions.GIVES_UP_S) as opened:
        ahead = partitions.Partitions(opened)

        def health() -> Mapping[str, object]:
            return {**ahead.health(), **_trusted(settings)}

        yield [
            *(_relay_role(settings, stream) for stream in streams),
            Role(name="partitions", run=ahead.run, health=health),
        ]


def _relay_role(settings: Settings, stream: Stream) -> Role:
    one = Relay(
        stream,
        database_url=settings.database.url,
        bootstrap=settings.kafka.bootstrap,
        prefix=settings.kafka.topic_prefix,
        log=settings.log_name,
        settings=settings.relay,
        stalled_after_s=settings.stalled_after_s,
    )

    async def run(stopping: asyncio.Event) -> None:
        await _right_topics(settings, (*stream.topics, topics.CHECKPOINT), stopping, one.waiting)
        await one.run(stopping)

    def health() -> Mapping[str, object]:
        return {"leading": one.leading, "position": one.position, **one.waiting.details()}

    return Role(name=f"relay-{stream.name}", run=run, health=health)


@asynccontextmanager
async def projector(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """Kafka → projections → state, outbox, position."""
    async with _pool(settings, "projector", statement_timeout_s=_PROJECTOR_GIVES_UP_S) as opened:
        folding = Projector(
            pool=opened,
            bootstrap=settings.kafka.bootstrap,
            prefix=settings.kafka.topic_prefix,
            log=settings.log_name,
            folder=_folder(settings),
            positions=_positions(settings),
            watermark=Watermark(
                bootstrap=settings.kafka.bootstrap,
                prefix=settings.kafka.topic_prefix,
                log=settings.log_name,
            ),
            member_name=MemberName(database_url=settings.database.url, log=settings.log_name),
            settings=settings.projector,
            stalled_after_s=settings.stalled_after_s,
        )

        async def run(stopping: asyncio.Event) -> None:
            await _right_topics(settings, (topics.RAW, topics.CHECKPOINT), stopping, folding.waiting)
            await folding.run(stopping)

        def health() -> Mapping[str, object]:
            places = {str(at): place.position for at, place in folding.places.items()}
            return {"partitions": places, **folding.waiting.details(), **_trusted(settings)}

        yield [Role(name="projector", run=run, health=health)]


ROLES: Final[Mapping[str, Callable[[Settings], AbstractAsyncContextManager[Sequence[Role]]]]] = {
    "ingress": ingress,
    "drain": drain,
    "relay": relay,
    "projector": projector,
}
"""What `recibo serve` knows."""


@asynccontextmanager
async def roles(names: Sequence[str], settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """The roles `names`, ready to run."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(ROLES[name](settings)) for name in names]
        yield [role for several in opened for role in several]


@asynccontextmanager
async def retry(settings: Settings) -> AsyncIterator[Retry]:
    """What reads quarantined and parked deliveries again."""
    async with _pool(settings, "retry") as opened:
        yield Retry(
            pool=opened,
            log=settings.log_name,
            reading=settings.reading,
            folder=_folder(settings),
            positions=_positions(settings),
        )


def _pool(
    settings: Settings, application: str, *, statement_timeout_s: float = 0.0
) -> AbstractAsyncContextManager[Pool]:
    return pool(
        settings.database.url,
        application=application,
        size_max=settings.database.pool_size_max,
        statement_timeout_s=statement_timeout_s,
        storage_is_durable=settings.database.storage_is_durable,
    )


def _trusted(settings: Settings) -> Mapping[str, object]:
    """For health: what the operator answers for and nobody can check."""
    return {"storage_is_durable": "by setting"} if settings.database.storage_is_durable else {}


async def _right_topics(
    settings: Settings, names: Sequence[str], stopping: asyncio.Event, waiting: Waiting
) -> None:
    kafka = settings.kafka
    await administration.await_right(kafka.bootstrap, kafka.topic_prefix, names, stopping, waiting)


def _folder(settings: Settings) -> Folder:
    return Folder(
        log=settings.log_name,
        reading=settings.reading,
        event_bytes_max=settings.projector.batch_event_bytes_max,
    )


def _positions(settings: Settings) -> Positions:
    return Positions(log=settings.log_name, fold_version=fold_version(settings.reading))
