"""Promise 5, for the relay: whatever happens to leaders and locks, each row is published once, in order."""

import asyncio

import asyncpg

from service.eventlog.deliveries import append_batch
from service.postgres import connect
from tests.deliveries import new_delivery
from tests.relays import Published, published, relay_of
from tests.servers import Kafka, eventually


async def test_two_relays_that_lose_each_others_lock_settle(database_url: str, kafka: Kafka) -> None:
    relays = [relay_of("deliveries", database_url, kafka) for _ in range(2)]
    stopping = asyncio.Event()
    running = [asyncio.create_task(relay.run(stopping)) for relay in relays]
    owner = await asyncpg.connect(database_url)
    writer = await connect(database_url, application="writer")

    for _ in range(12):
        await append_batch(writer, [new_delivery(root=f"shop:order:{n}") for n in range(80)])
        # The leader's lock goes with its connection, mid-pass or not; the other takes over at once.
        await owner.execute(
            """select pg_terminate_backend(pid) from pg_locks
               where locktype = 'advisory' and granted
                 and database = (select oid from pg_database where datname = current_database())"""
        )

    async def all_is_published() -> bool:
        return max(relay.position for relay in relays) == 960

    await eventually(all_is_published, what="a leader reaches the log's head")
    stopping.set()
    await asyncio.gather(*running)
    await owner.close()
    await writer.close()
    assert_each_once_in_order(await published(kafka), 960)


def assert_each_once_in_order(records: list[Published], last: int) -> None:
    assert sorted(record.position for record in records) == list(range(1, last + 1))
    ends: dict[tuple[str, int], int] = {}
    for record in records:
        place = (record.topic, record.partition)
        assert record.previous == ends.get(place, 0)
        ends[place] = record.position
