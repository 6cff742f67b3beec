"""A connection that died unnoticed holds up neither its client nor, with what it locked, anybody else."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import pytest

from service.errors import TransientError
from service.localstack.ports import free_port
from service.postgres import borrowed, connect, pool, sorted_errors, transaction
from tests.faults import wire
from tests.faults.wire import Wire

GONE_S_MAX = 60

GIVES_UP_S = 2.0
"""The server; the client after twice as long."""


@pytest.mark.parametrize("at", ["a statement", "COMMIT"])
async def test_a_transaction_on_a_dead_connection_is_given_up_once_and_not_twice(
    at: str, database_url: str
) -> None:
    async def ask(through: str) -> None:
        async with (
            pool(through, application="test", size_max=1, statement_timeout_s=GIVES_UP_S) as opened,
            borrowed(opened, timeout_s=5) as connection,
            transaction(connection),
        ):
            await connection.execute("select 1")
            with proxy.silent(forgets=True):
                await asyncio.sleep(0)
                if at == "a statement":
                    await connection.execute("select 1")

    there = urlsplit(database_url)
    async with Wire(port=free_port(), to=there.port or 0, dialect=wire.Postgres).listening() as proxy:
        with pytest.raises(TransientError), sorted_errors(lost=TransientError):
            # Waiting for the rollback too, or for the connection to come back, takes 4 * GIVES_UP_S.
            async with asyncio.timeout(3.5 * GIVES_UP_S) as patience:
                await ask(urlunsplit(there._replace(netloc=f"{there.username}@127.0.0.1:{proxy.port}")))

    assert not patience.expired()


async def test_a_statement_without_an_answer_is_given_up(database_url: str) -> None:
    connection = await connect(database_url, application="test", command_timeout_s=0.1)

    with pytest.raises(TransientError), sorted_errors(lost=TransientError):
        await connection.execute("select pg_sleep(60)")

    connection.terminate()


async def test_a_session_whose_client_forgot_it_ends_by_itself(database_url: str) -> None:
    async with pool(database_url, application="test", size_max=1) as opened:
        settings = {
            name: int(await opened.fetchval("select setting from pg_settings where name = $1", name))
            for name in (
                "idle_in_transaction_session_timeout",
                "tcp_keepalives_idle",
                "tcp_keepalives_interval",
                "tcp_keepalives_count",
            )
        }

    assert 0 < settings["idle_in_transaction_session_timeout"] <= GONE_S_MAX * 1000
    silence_s = settings["tcp_keepalives_interval"] * settings["tcp_keepalives_count"]
    assert 0 < settings["tcp_keepalives_idle"] + silence_s <= GONE_S_MAX


async def test_what_a_forgotten_transaction_locked_is_free_again(database_url: str) -> None:
    forgotten = await connect(database_url, application="forgotten")
    await forgotten.execute("set idle_in_transaction_session_timeout = '100ms'")
    # In one round trip: the time between two of them would count.
    await forgotten.execute("begin; select probe_deliveries()")
    another = await connect(database_url, application="another")

    async with asyncio.timeout(30):
        await another.execute("select probe_deliveries()")

    for connection in (forgotten, another):
        connection.terminate()


async def test_a_full_disk_says_what_to_free(database_url: str) -> None:
    connection = await connect(database_url, application="test")

    with pytest.raises(TransientError, match=r"disk of Postgres is full .*drop-shadow"), sorted_errors():
        await connection.execute("do $$ begin raise sqlstate '53100'; end $$")

    await connection.close()
