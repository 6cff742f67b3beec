"""A database and topics of a test's own, on the shared servers."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from service import migrations
from service.kafka import administration

_TEMPLATE = "recibo_template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kafka:
    """Topics of a test's own: where, and under which prefix."""

    bootstrap: str
    prefix: str


def database_named(url: str, name: str) -> str:
    """`url` with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@asynccontextmanager
async def empty_database(server_url: str) -> AsyncIterator[str]:
    """The URL, as owner, of a database without any schema; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"create database {name}")
        yield database_named(server_url, name)
        await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


@asynccontextmanager
async def fresh_database(server_url: str) -> AsyncIterator[str]:
    """The URL, as owner, of a migrated database that nobody else uses; dropped afterwards."""
    admin = await asyncpg.connect(server_url)
    try:
        name = await _create_database(admin, server_url)
        try:
            yield database_named(server_url, name)
        finally:
            await admin.execute(f"drop database {name} with (force)")
    finally:
        await admin.close()


async def new_database(server_url: str) -> str:
    """The URL, as owner, of a migrated database that nobody else uses; it stays."""
    admin = await asyncpg.connect(server_url)
    try:
        return database_named(server_url, await _create_database(admin, server_url))
    finally:
        await admin.close()


async def _create_database(admin: "asyncpg.Connection[asyncpg.Record]", server_url: str) -> str:
    name = f"test_{uuid.uuid4().hex[:12]}"
    await _make_template(admin, server_url)
    await admin.execute(f'create database {name} template "{_template_name()}"')
    return name


def _template_name() -> str:
    # Named by what it holds: a changed migration makes another template, on a server that stays up.
    digest = "".join(migration.sha256 for migration in migrations.migrations())
    return f"{_TEMPLATE}_{uuid.uuid5(uuid.NAMESPACE_OID, digest).hex[:12]}"


async def _make_template(admin: "asyncpg.Connection[asyncpg.Record]", server_url: str) -> None:
    name = _template_name()
    await admin.execute("select pg_advisory_lock(1)")
    try:
        if await admin.fetchval("select 1 from pg_database where datname = $1", name):
            return
        await admin.execute(f'create database "{name}"')
        await migrations.migrate(database_named(server_url, name))
    finally:
        await admin.execute("select pg_advisory_unlock(1)")


async def restore_older(database_url: str, up_to: int) -> None:
    """Do to the log of deliveries what restoring an older backup does."""
    owner = await asyncpg.connect(database_url)
    await owner.execute("set session_replication_role = replica")
    await owner.execute("delete from delivery_log where position > $1", up_to)
    await owner.execute("update log_head set last_position = $1 where log = 'deliveries'", up_to)
    await owner.close()


async def fresh_topics(bootstrap: str) -> Kafka:
    """All topics, on one broker, under a prefix that nobody else uses."""
    kafka = Kafka(bootstrap=bootstrap, prefix=fresh_prefix())
    await administration.create(kafka.bootstrap, kafka.prefix, replicas=1)
    return kafka


def fresh_prefix() -> str:
    """A prefix of topics, groups and transactional ids that nobody else uses."""
    return f"t{uuid.uuid4().hex[:10]}."


async def eventually(condition: Callable[[], Awaitable[bool]], *, what: str, timeout_s: float = 30.0) -> None:
    """Wait until the awaitable `condition()` is true; fail with `what` if it does not become so."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.02)
