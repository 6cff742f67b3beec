"""An append knows within its time where it stands: it is sent with enough of it left, or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from service.errors import InvariantError, OutcomeUnknownError, TransientError
from service.eventlog.deliveries import DeliveryLog, server_gives_up_s
from service.localstack.ports import free_port
from service.postgres import pool
from tests import poolers
from tests.deliveries import new_delivery
from tests.faults import wire
from tests.faults.wire import Wire
from tests.servers import eventually

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

TIMEOUT_S: Final = 2.0
DELAY_S: Final = 0.1
"""Each way: a login and the look at the session take more than the eighth of TIMEOUT_S that they may."""


@asynccontextmanager
async def log_at(database_url: str, timeout_s: float = TIMEOUT_S) -> AsyncIterator[DeliveryLog]:
    async with pool(
        database_url, application="ingress", size_max=4, statement_timeout_s=server_gives_up_s(timeout_s)
    ) as opened:
        yield DeliveryLog(opened, timeout_s=timeout_s)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_with_too_little_time_left_nothing_is_sent_and_nothing_is_in_doubt(
    database_url: str, owner: Connection
) -> None:
    there = urlsplit(database_url)
    async with Wire(port=free_port(), to=there.port or 0, dialect=wire.Postgres).listening() as proxy:
        through = urlunsplit(there._replace(netloc=f"{there.username}@127.0.0.1:{proxy.port}"))
        async with log_at(through) as log:
            with proxy.delaying(DELAY_S):
                with pytest.raises(TransientError, match="nothing was sent") as raised:
                    await log.append([new_delivery(b"first")])
                appended = await log.append([new_delivery(b"second")])

    assert not isinstance(raised.value, OutcomeUnknownError)
    assert list(appended.positions) == [1], "the connection that was opened serves the next append"
    assert await owner.fetchval("select body from delivery_log") == b"second"


async def test_an_append_is_one_round_trip_from_the_first_one_on(database_url: str) -> None:
    sent: list[bytes] = []

    def note(chunk: bytes) -> bytes:
        sent.append(chunk)
        return chunk

    async with poolers.between(database_url, up=note) as through, log_at(through, 30) as log:
        await log.make_ready()
        sent.clear()
        await log.append([new_delivery(b"one")])

    assert len(sent) == 1


async def test_a_connection_that_is_lost_is_open_again_before_an_append_asks(
    database_url: str, owner: Connection
) -> None:
    async def is_open() -> bool:
        return log.health() == {"log_connection": "open"}

    async def is_lost() -> bool:
        return log.health() == {"log_connection": "none"}

    stopping = asyncio.Event()
    async with log_at(database_url, 30) as log:
        keeping = asyncio.create_task(log.keep_ready(stopping))
        await eventually(is_open, what="a connection is open")
        await owner.fetch(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name = 'recibo-ingress'"
        )
        await eventually(is_lost, what="it is lost")
        await eventually(is_open, what="another one is open")
        stopping.set()
        await keeping


async def test_postgres_gives_up_before_its_client_does(database_url: str, owner: Connection) -> None:
    async with log_at(database_url) as log:
        await log.make_ready()
        async with owner.transaction():
            await owner.execute("select from log_head for update")

            with pytest.raises(TransientError, match="57014") as raised:
                await log.append([new_delivery()])

    assert not isinstance(raised.value, OutcomeUnknownError)


async def test_while_postgres_is_away_a_connection_is_asked_for_again_and_again(database_url: str) -> None:
    parts = urlsplit(database_url)
    stopping = asyncio.Event()
    async with log_at(database_url.replace(str(parts.port), "1")) as log:
        keeping = asyncio.create_task(log.keep_ready(stopping))
        await log.tried.wait()
        stopping.set()
        await keeping

        assert log.health() == {"log_connection": "none"}


@pytest.mark.parametrize("way", [poolers.keeps_its_own_keys, poolers.refuses_settings])
async def test_a_connection_that_may_not_be_used_stops_the_role(
    database_url: str, way: Callable[[bytes], bytes]
) -> None:
    async with poolers.between(database_url, down=way) as through, log_at(through) as log:
        with pytest.raises(InvariantError, match="Connect directly"):
            await log.keep_ready(asyncio.Event())
