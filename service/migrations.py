"""Bring a database to the newest schema: plain SQL files, forward only, each in one transaction.

A crash leaves the files before it applied and the one under way not. Two that run at once queue on
an advisory lock. A file that changed after it was applied stops everything: write a new one.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from service.errors import InvariantError, PermanentError, TransientError
from service.postgres import connect_as_owner, sorted_errors

_PACKAGED = Path(__file__).with_name("_migrations")
"""Where a wheel has what a checkout has in `migrations/` (pyproject.toml)."""
FOLDER = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1] / "migrations"

_LOCK_KEY = 0x7265_6369_626F  # "recibo"

_IDLE_S_MAX = 60

_JOURNAL = """
create table if not exists schema_migration (
    name text primary key,
    sha256 text not null,
    applied_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `migrations/`, in the order of their names."""

    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> Sequence[Migration]:
    """All files, in order."""
    return [Migration(path.name, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))]


async def migrate(url: str, folder: Path = FOLDER) -> Sequence[str]:
    """Apply what is missing, as the owner that `url` logs in as. Returns the names applied now.

    Raises TransientError while Postgres is away, InvariantError if an applied file has changed,
    PermanentError if the login may not do it, or if there is no file at all.
    """
    if not migrations(folder):
        raise PermanentError(f"there are no migrations in {folder}: this installation is not whole, renew it")
    # Between two files it is idle, with the advisory lock: one that freezes there must not keep others out.
    connection = await connect_as_owner(url, application="migrate", idle_s_max=_IDLE_S_MAX)
    try:
        with sorted_errors(lost=TransientError):
            return await _migrate(connection, folder)
    finally:
        await connection.close()


async def _migrate(connection: "asyncpg.Connection[asyncpg.Record]", folder: Path) -> Sequence[str]:
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK_KEY)
        await connection.execute(_JOURNAL)
        journal = {
            row["name"]: row["sha256"]
            for row in await connection.fetch("select name, sha256 from schema_migration")
        }
        applied = []
        for migration in migrations(folder):
            if migration.name not in journal:
                await _apply(connection, migration)
                applied.append(migration.name)
            elif journal[migration.name] != migration.sha256:
                raise InvariantError(
                    f"{migration.name} is not the file that was applied to this database: "
                    "restore it, and put the change into a new migration"
                )
        return applied
    except asyncpg.InsufficientPrivilegeError as error:
        raise PermanentError(
            f"{error}: RECIBO_MIGRATION_DATABASE_URL takes the login of the database's owner"
        ) from error


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "insert into schema_migration (name, sha256) values ($1, $2)", migration.name, migration.sha256
        )
