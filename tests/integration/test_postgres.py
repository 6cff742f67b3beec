"""A connection that died unnoticed holds up neither its client nor, with what it locked, anybody else."""

import asyncio

import pytest

from service.errors import TransientError
from service.postgres import connect, pool, sorted_errors

GONE_S_MAX = 60


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
    await forgotten.execute("begin")
    await forgotten.execute("update log_head set last_position = last_position where log = 'events'")
    another = await connect(database_url, application="another")

    async with asyncio.timeout(30):
        await another.execute("update log_head set last_position = last_position where log = 'events'")

    for connection in (forgotten, another):
        connection.terminate()
