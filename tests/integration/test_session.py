"""A connection is used only if it is what the promises rest on; what it can set itself it sets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from service.errors import InvariantError
from service.localstack import Stack
from service.postgres import connect, connect_as_owner, pool
from tests import poolers
from tests.outages import health
from tests.roles import CONFIG, Process, role
from tests.servers import Kafka, database_named, eventually, fresh_prefix

DURABLE_BY_SETTING = CONFIG + "\n[database]\nstorage_is_durable = true\n"


async def opened_by_each_way(database_url: str) -> list[str]:
    """What synchronous_commit is in a connection of each kind."""
    found = []
    for opened in (
        await connect(database_url, application="test"),
        await connect_as_owner(database_url, application="test"),
    ):
        found.append(await opened.fetchval("show synchronous_commit"))
        await opened.close()
    async with pool(database_url, application="test", size_max=1) as several:
        found.append(await several.fetchval("show synchronous_commit"))
    return found


@pytest.mark.parametrize(
    ("server_says", "expected"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
async def test_every_connection_commits_durably_whatever_the_database_says(
    database_url: str, server_says: str, expected: str
) -> None:
    owner = await asyncpg.connect(database_url)
    name = await owner.fetchval("select current_database()")
    await owner.execute(f"alter database {name} set synchronous_commit = {server_says}")
    await owner.close()

    assert await opened_by_each_way(database_url) == [expected] * 3


async def test_a_connection_goes_on_committing_durably_when_the_server_is_told_otherwise(
    database_url: str,
) -> None:
    owner = await asyncpg.connect(database_url)
    async with (
        pool(database_url, application="test", size_max=1) as several,
        several.acquire() as opened,
        told(owner, "synchronous_commit", "off"),
    ):
        assert await opened.fetchval("show synchronous_commit") == "on"
    await owner.close()


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ({"down": poolers.keeps_its_own_keys}, "not the one that took the login"),
        ({"up": poolers.forgets("role")}, "runs as recibo, not as recibo_service"),
        ({"up": poolers.forgets("statement_timeout")}, "statement_timeout is 0.0 s, not 2.0 s"),
        ({"up": poolers.forgets("idle_in_transaction_session_timeout")}, "idle_in_transaction"),
        ({"down": poolers.refuses_settings}, "refuses the login's settings, 08P01"),
    ],
    ids=["its own keys", "no role", "no statement timeout", "no idle timeout", "no settings"],
)
async def test_a_pooler_is_told_from_postgres_and_refused(
    database_url: str, way: dict[str, Callable[[bytes], bytes]], why: str
) -> None:
    async with (
        poolers.between(database_url, **way) as through,
        pool(through, application="test", size_max=1, statement_timeout_s=2) as several,
    ):
        with pytest.raises(InvariantError, match=f"{why}.*Connect directly"):
            await several.fetchval("select 1")


async def test_a_proxy_that_only_passes_on_is_no_pooler(database_url: str) -> None:
    async with (
        poolers.between(database_url) as through,
        pool(through, application="test", size_max=1, statement_timeout_s=2) as several,
    ):
        assert await several.fetchval("select 1") == 1


async def test_a_database_that_cannot_hold_every_text_is_refused(stack: Stack) -> None:
    name = fresh_prefix().rstrip(".")
    admin = await asyncpg.connect(stack.database_url)
    await admin.execute(f"create database {name} template template0 encoding 'LATIN1' locale 'C'")

    with pytest.raises(InvariantError, match="LATIN1"):
        await connect_as_owner(database_named(stack.database_url, name), application="test")

    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.mark.parametrize("name", ["ingress", "drain", "relay", "projector"])
async def test_a_server_that_does_not_write_through_halts_a_role_unless_the_storage_is_durable(
    name: str, stack: Stack, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    owner = await asyncpg.connect(database_url)
    async with told(owner, "full_page_writes", "off"):
        async with role(name, database_url, kafka, tmp_path, crashpoint="none") as halted:
            code = await asyncio.wait_for(halted.process.wait(), 60)
        async with role(name, database_url, kafka, tmp_path, config=DURABLE_BY_SETTING) as trusting:
            await eventually(lambda: shows_trust(trusting), what="health shows what is taken on trust")
    await owner.close()

    assert code == 3
    assert "full_page_writes of Postgres is off" in halted.log.read_text()
    assert "storage_is_durable" in halted.log.read_text()


async def shows_trust(process: Process) -> bool:
    return "'storage_is_durable': 'by setting'" in str(await health(process))


@asynccontextmanager
async def told(owner: "asyncpg.Connection[asyncpg.Record]", setting: str, value: str) -> AsyncIterator[None]:
    """The whole server is told so, and knows it."""

    async def known(expected: str) -> bool:
        found = await owner.fetchval("select reset_val from pg_settings where name = $1", setting)
        return bool(found == expected)

    before = await owner.fetchval("select reset_val from pg_settings where name = $1", setting)
    await owner.execute(f"alter system set {setting} = {value}")
    await owner.execute("select pg_reload_conf()")
    try:
        await eventually(lambda: known(value), what=f"the server knows {setting}")
        yield
    finally:
        await owner.execute(f"alter system reset {setting}")
        await owner.execute("select pg_reload_conf()")
        await eventually(lambda: known(before), what=f"the server forgets {setting}")
