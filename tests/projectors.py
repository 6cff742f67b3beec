"""Projectors on a test's own database and topics."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from projections.delivery import routing_key
from projections.facts import Reading
from projections.fold import fold_version
from service.eventlog.deliveries import NewDelivery, append_batch
from service.kafka.partitioner import partition_of
from service.postgres import Connection, connect, pool
from service.projector.member_name import MemberName
from service.projector.projector import Projector
from service.projector.retry import Retry
from service.projector.watermark import Watermark
from service.readmodels.apply import Folder
from service.readmodels.positions import Positions
from service.settings import ProjectorSettings
from service.waiting import STALLED_AFTER_S
from tests.relays import drain, relay_of
from tests.servers import Kafka

SETTINGS = ProjectorSettings(batch_rows_max=50, poll_timeout_s=0.05, quiet_after_s=0.2, retry_after_s=0.05)
READING = Reading()


@asynccontextmanager
async def projector_of(
    database_url: str,
    kafka: Kafka,
    *,
    reading: Reading = READING,
    version: str | None = None,
    settings: ProjectorSettings = SETTINGS,
    stalled_after_s: float = STALLED_AFTER_S,
) -> AsyncIterator[Projector]:
    """A projector of log `main`, not yet a member of its group."""
    async with pool(database_url, application="projector", size_max=2) as opened:
        yield Projector(
            pool=opened,
            bootstrap=kafka.bootstrap,
            prefix=kafka.prefix,
            log="main",
            folder=Folder(log="main", reading=reading, event_bytes_max=settings.batch_event_bytes_max),
            positions=Positions(log="main", fold_version=version or fold_version(reading)),
            watermark=Watermark(bootstrap=kafka.bootstrap, prefix=kafka.prefix, log="main"),
            member_name=MemberName(database_url=database_url, log="main"),
            settings=settings,
            stalled_after_s=stalled_after_s,
        )


@asynccontextmanager
async def retry_of(
    database_url: str, reading: Reading = READING, *, event_bytes_max: int | None = None
) -> AsyncIterator[Retry]:
    """What reads quarantined and parked deliveries of log `main` again."""
    async with pool(database_url, application="retry", size_max=2) as opened:
        yield Retry(
            pool=opened,
            log="main",
            reading=reading,
            folder=Folder(log="main", reading=reading, event_bytes_max=event_bytes_max),
            positions=Positions(log="main", fold_version=fold_version(reading)),
        )


async def receive(database_url: str, kafka: Kafka, deliveries: list[NewDelivery]) -> dict[int, int]:
    """Append, publish; where the partitions then end."""
    connection = await connect(database_url, application="test")
    await append_batch(connection, deliveries)
    await drain(relay_of("deliveries", database_url, kafka))
    found = await ends(connection)
    await connection.close()
    return found


async def fold_up_to(projector: Projector, partitions: dict[int, int]) -> None:
    """Run passes until every partition stands at the position beside it, or beyond."""
    async with projector.joined() as member:
        while any(
            at not in projector.places or projector.places[at].position < position
            for at, position in partitions.items()
        ):
            await projector.run_once(member)


async def ends(connection: Connection) -> dict[int, int]:
    """Partition → position of the last delivery in the log that belongs there."""
    found: dict[int, int] = {}
    for row in await connection.fetch("select position, root from delivery_log order by position"):
        found[partition_of(routing_key(row["root"], row["position"]))] = row["position"]
    return found


async def states(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """Every derived row, by table: what must be equal whatever the way there."""
    tables = {
        "timeline": "root",
        "order_state": "root",
        "dispute_state": "root, ordinal",
        "subscription_state": "root",
        "withdrawal_state": "root",
        "cart_state": "root",
    }
    return {
        table: [
            tuple(row.values()) for row in await connection.fetch(f"select * from {table} order by {key}")
        ]
        for table, key in tables.items()
    }
