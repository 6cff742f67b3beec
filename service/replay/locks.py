"""Who may work on a schema: one rebuild at a time, and none beside what a killed one left running.

Session locks of Postgres: they end with the connection, whatever ended it.
"""

from typing import Final

from service.errors import TransientError
from service.postgres import Connection

_OWNER: Final = "recibo replay of "
_WORKERS: Final = "recibo replay workers of "
_PATIENCE_MS: Final = 30_000


async def own(connection: Connection, schema: str) -> None:
    """Own `schema` as long as `connection` lives. Raises TransientError while another does."""
    if not await connection.fetchval("select pg_try_advisory_lock(hashtextextended($1, 0))", _OWNER + schema):
        raise TransientError(f"another `recibo replay` works on {schema}: wait for it, or end it")
    # What a killed one's processes had under way ends with the job that each is at.
    await connection.execute(f"set lock_timeout = {_PATIENCE_MS}")
    await connection.execute("select pg_advisory_lock(hashtextextended($1, 0))", _WORKERS + schema)
    await connection.execute("select pg_advisory_unlock(hashtextextended($1, 0))", _WORKERS + schema)
    await connection.execute("reset lock_timeout")


async def share(connection: Connection, schema: str) -> None:
    """Work for the owner of `schema` as long as `connection` lives."""
    await connection.execute("select pg_advisory_lock_shared(hashtextextended($1, 0))", _WORKERS + schema)


async def outlive_owner(connection: Connection, schema: str) -> None:
    """Return once the session that owned `schema` has ended, and with it its transaction."""
    await connection.execute(f"set lock_timeout = {_PATIENCE_MS}")
    await connection.execute("select pg_advisory_lock_shared(hashtextextended($1, 0))", _OWNER + schema)
    await connection.execute("reset lock_timeout")
