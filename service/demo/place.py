"""Where the demo runs: a folder, a database and topics of its own, secrets of this run.

In: two servers and the folder. Out: settings for whoever joins in there. On servers that somebody else
runs, the database and the topics are removed in the end; after a crash they are left, named `…demo…`.
"""

import asyncio
import os
import re
import secrets
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service import migrations, settings
from service.checks import UrlTokenCheck
from service.errors import PermanentError, ReciboError, TransientError
from service.kafka import administration, topics
from service.localstack import Stack
from service.localstack.ports import free_port
from service.postgres import connect, sorted_errors
from service.settings import Settings

_CONFIG: Final = Path(__file__).with_name("recibo.toml")
_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a role, or a command in another terminal, needs to join in."""

    folder: Path
    environment: Mapping[str, str]
    """The RECIBO_… variables."""
    settings: Settings

    @property
    def url(self) -> str:
        """The ingress's."""
        return f"http://127.0.0.1:{self.settings.ingress.port}"

    def token_of(self, source: str) -> str:
        """The secret that belongs into the URL of `source`."""
        (check,) = (
            check for check in self.settings.sources[source].checks if isinstance(check, UrlTokenCheck)
        )
        return check.secrets[0].decode()

    @property
    def joining(self) -> Path:
        """A file for a shell to read, so that commands there join in."""
        return self.folder / "join.sh"


@contextmanager
def prepared(folder: Path, stack: Stack, say: Callable[[str], None]) -> Iterator[Place]:
    """A place with its schema, topics and secrets; enter it from a thread that runs no event loop."""
    name = f"recibo-demo-{secrets.token_hex(4)}"
    database_url = asyncio.run(_create_database(stack.database_url, name))
    place = _laid_out(folder, database_url, stack.kafka_bootstrap, prefix=f"{name}.")
    try:
        asyncio.run(_fill(place.settings, own_database=database_url != stack.database_url))
        yield place
    finally:
        try:
            asyncio.run(_leave(place.settings, stack, name))
        except (ReciboError, KafkaError) as error:
            say(f"what is named {name} could not all be removed: {error}")


async def _create_database(server_url: str, name: str) -> str:
    """The URL of a new database; of the given one where its login may not make any."""
    with sorted_errors(lost=TransientError):
        connection = await asyncpg.connect(server_url, timeout=_TIMEOUT_S)
        try:
            await connection.execute(f'create database "{name}"')
        except asyncpg.InsufficientPrivilegeError:
            return server_url
        finally:
            connection.terminate()
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))


def _laid_out(folder: Path, database_url: str, bootstrap: str, *, prefix: str) -> Place:
    config = _CONFIG.read_text(encoding="utf-8")
    (folder / "secrets").mkdir(mode=0o700)
    for name in re.findall(r"file:(secrets/\w+)", config):
        _write_private(folder / name, secrets.token_urlsafe(24))
    path = folder / "recibo.toml"
    path.write_text(config, encoding="utf-8")
    environment = {
        "RECIBO_CONFIG": str(path),
        "RECIBO_DATABASE_URL": database_url,
        "RECIBO_KAFKA_BOOTSTRAP": bootstrap,
        "RECIBO_TOPIC_PREFIX": prefix,
        "RECIBO_HTTP_PORT": str(free_port()),
    }
    place = Place(folder=folder, environment=environment, settings=settings.load(environment, path))
    # It holds the database's URL, and that may hold a password.
    _write_private(
        place.joining,
        "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()),
    )
    return place


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")


async def _fill(loaded: Settings, *, own_database: bool) -> None:
    await asyncio.gather(
        migrations.migrate(loaded.database.migration_url),
        administration.create(
            loaded.kafka.bootstrap, loaded.kafka.topic_prefix, replicas=loaded.kafka.replicas
        ),
    )
    if not own_database:
        await _insist_on_empty(loaded.database.url)


async def _insist_on_empty(database_url: str) -> None:
    connection = await connect(database_url, application="demo")
    try:
        with sorted_errors(lost=TransientError):
            last = await connection.fetchval("select last_position from log_head where log = 'deliveries'")
    finally:
        connection.terminate()
    if last:
        raise PermanentError(
            "the database in RECIBO_DATABASE_URL already holds deliveries, and its login may not make "
            "another one: name an empty database, or a login that may create databases"
        )


async def _leave(loaded: Settings, stack: Stack, name: str) -> None:
    """Remove what was made on servers that go on running; where there was no database to make, it stays."""
    if os.environ.get("RECIBO_DATABASE_URL"):
        await _drop_database(stack.database_url, name)
    if os.environ.get("RECIBO_KAFKA_BOOTSTRAP"):
        await _delete_topics(loaded)


async def _delete_topics(loaded: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=loaded.kafka.bootstrap)
    try:
        await admin.start()
        response = await admin.delete_topics(
            [loaded.kafka.topic_prefix + topic.name for topic in topics.TOPICS]
        )
        if refused := [name for name, code in response.topic_error_codes if code]:
            raise TransientError(f"Kafka does not delete {', '.join(refused)}")
    finally:
        await admin.close()


async def _drop_database(server_url: str, name: str) -> None:
    with sorted_errors(lost=TransientError):
        connection = await asyncpg.connect(server_url, timeout=_TIMEOUT_S)
        try:
            await connection.execute(f'drop database if exists "{name}" with (force)')
        finally:
            connection.terminate()
