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
from service.eventlog.deliveries import DeliveryLog
from service.ingress import app, server
from service.ingress.batch import GroupCommit
from service.kafka import topics
from service.postgres import Pool, pool
from service.projector.apply import Folder
from service.projector.positions import Positions
from service.projector.projector import Projector
from service.projector.retry import Retry
from service.projector.watermark import Watermark
from service.relay.partitions import Partitions
from service.relay.relay import Relay
from service.relay.streams import Deliveries, Events, Stream
from service.runtime import Role
from service.settings import Settings


@asynccontextmanager
async def ingress(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """HTTP → log. Starts without Kafka, and stops if the topics turn out wrong."""
    async with _pool(settings, "ingress") as opened:
        log = DeliveryLog(opened, timeout_s=settings.ingress.append_timeout_s)
        batch = GroupCommit(log.append, settings.ingress)
        application = app.build(
            settings.sources.values(),
            append=batch.append,
            root_of=root_of,
            health=batch.health,
            log_name=settings.log_name,
            settings=settings.ingress,
        )

        async def run(stopping: asyncio.Event) -> None:
            await server.serve(application, stopping, drain=batch.drain, settings=settings.ingress)

        async def watch_topics(stopping: asyncio.Event) -> None:
            await _right_topics(settings, stopping)
            await stopping.wait()

        yield [
            Role(name="ingress", run=run, health=batch.health),
            Role(name="topics", run=watch_topics, health=dict),
        ]


@asynccontextmanager
async def relay(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """Log → Kafka, for both logs; and the partitions that they grow into."""
    streams: Sequence[Stream] = (Deliveries(settings.log_name), Events())
    async with _pool(settings, "partitions") as opened:
        yield [
            *(_relay_role(settings, stream) for stream in streams),
            Role(name="partitions", run=Partitions(opened).run, health=dict),
        ]


def _relay_role(settings: Settings, stream: Stream) -> Role:
    one = Relay(
        stream,
        database_url=settings.database.url,
        bootstrap=settings.kafka.bootstrap,
        prefix=settings.kafka.topic_prefix,
        log=settings.log_name,
        settings=settings.relay,
    )

    async def run(stopping: asyncio.Event) -> None:
        await _right_topics(settings, stopping)
        await one.run(stopping)

    def health() -> Mapping[str, object]:
        return {"leading": one.leading, "position": one.position}

    return Role(name=f"relay-{stream.name}", run=run, health=health)


@asynccontextmanager
async def projector(settings: Settings) -> AsyncIterator[Sequence[Role]]:
    """Kafka → projections → state, outbox, position."""
    async with _pool(settings, "projector") as opened:
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
            settings=settings.projector,
        )

        async def run(stopping: asyncio.Event) -> None:
            await _right_topics(settings, stopping)
            await folding.run(stopping)

        def health() -> Mapping[str, object]:
            return {"partitions": {str(at): place.position for at, place in folding.places.items()}}

        yield [Role(name="projector", run=run, health=health)]


ROLES: Final[Mapping[str, Callable[[Settings], AbstractAsyncContextManager[Sequence[Role]]]]] = {
    "ingress": ingress,
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


def _pool(settings: Settings, application: str) -> AbstractAsyncContextManager[Pool]:
    return pool(
        settings.database.url,
        application=application,
        size_max=settings.database.pool_size_max,
    )


async def _right_topics(settings: Settings, stopping: asyncio.Event) -> None:
    await topics.await_right(settings.kafka.bootstrap, settings.kafka.topic_prefix, stopping)


def _folder(settings: Settings) -> Folder:
    return Folder(log=settings.log_name, reading=settings.reading)


def _positions(settings: Settings) -> Positions:
    return Positions(log=settings.log_name, fold_version=fold_version(settings.reading))
