"""Partitions are made far ahead of the log, and nobody who appends or reads waits for that."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg
import pytest
import structlog

from service.eventlog.deliveries import append_batch
from service.postgres import Pool, connect, pool
from service.relay.partitions import AHEAD, Partitions
from tests.deliveries import new_delivery
from tests.servers import eventually

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

NEAR: Final = 29_999_500
"""A head after which, with partitions of 100 rows, more must be made than the first migration made."""

APPEND_S_MAX: Final = 0.3
"""Of the server's: an append that waits for the making of a partition takes longer."""


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def opened(database_url: str) -> AsyncIterator[Pool]:
    async with pool(database_url, application="partitions", size_max=2, statement_timeout_s=30) as opened:
        yield opened


@asynccontextmanager
async def reading(database_url: str, table: str) -> AsyncIterator[None]:
    """A transaction that has read a table and stays open, as pg_dump's or an analyst's."""
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetch(f"select * from {table} limit 1")
        yield
    await reader.close()


async def head_at(owner: Connection, position: int, *, rows: int = 100) -> None:
    await owner.execute("update log_head set partition_rows = $1, last_position = $2", rows, position)


async def ranges(owner: Connection, log: str = "deliveries") -> list[tuple[int, int]]:
    found = await owner.fetch(
        "select first_position, end_position from log_partition where log = $1 order by 1", log
    )
    return [(row["first_position"], row["end_position"]) for row in found]


async def test_at_full_load_there_are_hours_until_a_log_outgrows_its_partitions(
    owner: Connection, opened: Pool
) -> None:
    made = await Partitions(opened).run_once()

    assert made > 0
    for log in ("deliveries", "events"):
        assert (await ranges(owner, log))[-1][1] / 25_000 > 2 * 3600
    assert await Partitions(opened).run_once() == 0


async def test_an_open_reader_of_the_default_partition_makes_no_append_wait(
    database_url: str, owner: Connection, opened: Pool
) -> None:
    await head_at(owner, NEAR)
    before = await ranges(owner)
    partitions = Partitions(opened)

    async with pool(
        database_url, application="writer", size_max=1, statement_timeout_s=APPEND_S_MAX
    ) as writers:

        async def append_on() -> int:
            appended = 0
            async with writers.acquire() as connection:
                while not tried.is_set():
                    await append_batch(connection, [new_delivery()])
                    appended += 1
            return appended

        tried = asyncio.Event()
        async with reading(database_url, "delivery_log_default"):
            with structlog.testing.capture_logs() as lines:
                appending = asyncio.create_task(append_on())
                for _ in range(10):
                    await partitions.run_once()
                tried.set()
                appended = await appending
            assert await ranges(owner) == before
            assert partitions.health() == {"not_made": {"deliveries": "55P03 LockNotAvailableError"}}

    assert appended > 0
    assert [line["log"] for line in lines if line["event"] == "partitions.not_made"] == ["deliveries"]
    assert await partitions.run_once() > 0
    assert partitions.health() == {}


async def test_what_is_in_the_way_of_one_log_does_not_keep_the_other_from_its_partitions(
    database_url: str, owner: Connection, opened: Pool
) -> None:
    await head_at(owner, NEAR)

    async with reading(database_url, "delivery_log_default"):
        made = await Partitions(opened).run_once()

    assert made > 0
    assert (await ranges(owner, "events"))[-1][1] > 30_000_001


async def test_a_failure_is_told_of_and_the_role_goes_on(
    database_url: str, owner: Connection, opened: Pool
) -> None:
    await head_at(owner, NEAR)
    partitions = Partitions(opened)
    stopping = asyncio.Event()

    async def it_is_told() -> bool:
        return "not_made" in partitions.health()

    async with reading(database_url, "delivery_log_default"):
        running = asyncio.create_task(partitions.run(stopping))
        await eventually(it_is_told, what="the failure is told of")
        assert not running.done()
        stopping.set()
        await running


async def test_several_relays_make_each_partition_once(owner: Connection, opened: Pool) -> None:
    await head_at(owner, NEAR)

    made = await asyncio.gather(*(Partitions(opened).run_once() for _ in range(4)))

    assert sum(made) > 0
    for log in ("deliveries", "events"):
        found = await ranges(owner, log)
        assert [end for _, end in found[:-1]] == [first for first, _ in found[1:]]


async def test_ranges_resume_beyond_rows_that_fell_into_the_default_partition_without_a_scan_of_them(
    database_url: str, owner: Connection, opened: Pool
) -> None:
    await head_at(owner, 30_000_000)
    service = await connect(database_url, application="service")
    await append_batch(service, [new_delivery()] * 50)
    told: list[str] = []
    async with opened.acquire() as connection:
        # The one connection that is used next.
        await connection.execute("set client_min_messages = debug1")

        def listen(_connection: object, message: asyncpg.PostgresLogMessage) -> None:
            told.append(str(message.as_dict()["message"]))

        connection.add_log_listener(listen)
        made = await Partitions(_One(connection)).run_once()  # type: ignore[arg-type]
        connection.remove_log_listener(listen)

    for _ in range(12):
        await append_batch(service, [new_delivery()] * 50)

    await service.close()
    positions = [row["position"] for row in await owner.fetch("select position from delivery_log order by 1")]
    strays = await owner.fetchval("select count(*) from delivery_log_default")
    spared = [message for message in told if "delivery_log_default" in message and "is implied" in message]
    left = await owner.fetchval("select count(*) from pg_constraint where conname ~ '^none_from_'")
    assert made >= AHEAD
    assert len(spared) == len([first for first, _ in await ranges(owner) if first > 30_000_001])
    assert positions == list(range(30_000_001, 30_000_651))
    assert 50 < strays < 400
    assert left == 0


class _One:
    """A pool of one connection that is already taken."""

    def __init__(self, connection: object) -> None:
        self.fetchval = connection.fetchval  # type: ignore[attr-defined]
        self.execute = connection.execute  # type: ignore[attr-defined]
