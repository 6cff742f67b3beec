"""Postgres: connections as the service's role, SQL from files, errors sorted by the next move.

Every connection runs as `recibo_service`, whatever it logged in as, so the log's immutability does
not hang on a DSN: that role has no right to change or remove a row of it.

A new connection is used only once it is seen to be what the promises rest on (service/session.sql): a
session of Postgres's own with the role and the time limits that were asked for, in UTF-8, whose commits are
durable. That is one query a connection, and none an acquire.
"""

import functools
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from service.errors import DatumRefusedError, InvariantError, OutcomeUnknownError, TransientError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

SERVICE_ROLE = "recibo_service"

# Texts: asyncpg's classes are generic for the type checker only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

_DATUM_CLASSES = frozenset({"22", "23", "54"})
"""SQLSTATE classes that speak of the row: data exception, constraint, program limit exceeded."""

_UNMIGRATED = frozenset({"42P01", "42703", "42883"})
"""No such table, column, function: the schema is older than the code."""

_TRANSIENT_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Connection, read-only, rollback, resources, lock not available, shutdown or cancel, I/O."""


_GONE_AFTER_S = 60
"""Silence of a client, in the midst of a transaction or of its connection, that ends its session."""

_LIMITS = {
    # A client that vanished without a farewell: the rows that it holds, or the relay's lock, must not
    # wait for the two hours after which TCP would notice.
    "idle_in_transaction_session_timeout": str(_GONE_AFTER_S * 1000),
    "tcp_keepalives_idle": str(_GONE_AFTER_S // 2),
    "tcp_keepalives_interval": str(_GONE_AFTER_S // 6),
    "tcp_keepalives_count": "3",
    # A client that is frozen while a long answer is on its way: its kernel still answers keepalives, and no
    # other limit of Postgres ends a backend that waits to write.
    "tcp_user_timeout": str(_GONE_AFTER_S * 1000),
}
"""What every session sets, so that a client that vanishes or freezes holds nothing for long."""


@functools.cache
def statement(folder: Path, name: str) -> str:
    """The SQL of `<folder>/<name>.sql`: one statement, its first comment gives effect, lock, index."""
    return (folder / f"{name}.sql").read_text(encoding="utf-8")


async def connect(
    url: str, *, application: str, timeout_s: float = 5.0, command_timeout_s: float | None = None
) -> Connection:
    """One connection as the service's role. Raises TransientError while Postgres is away.

    A statement without an answer within `command_timeout_s` is given up; null: never. Raises InvariantError
    if it is no session of Postgres's own.
    """
    with sorted_errors(lost=TransientError), reaching("RECIBO_DATABASE_URL"):
        return await _open(
            url,
            timeout=timeout_s,
            command_timeout=command_timeout_s,
            server_settings=_server_settings(application),
        )


async def connect_as_owner(
    url: str,
    *,
    application: str,
    schema: str | None = None,
    timeout_s: float = 5.0,
    idle_s_max: int = 0,
) -> "asyncpg.Connection[asyncpg.Record]":
    """One connection as whoever `url` logs in as, who may make and move tables.

    Only `schema`, where given, is on its search path: what is not there it does not find, instead of
    finding the live one. Its statements may take as long as they need, whatever the login's own limits; the
    session ends when it is idle for `idle_s_max` seconds (0: never).

    Raises TransientError while Postgres is away, InvariantError if it is no session of Postgres's own.
    """
    server_settings = _LIMITS | {
        "application_name": f"recibo-{application}",
        "timezone": "UTC",
        "statement_timeout": "0",
        "transaction_timeout": "0",
        "idle_session_timeout": str(idle_s_max * 1000),
    }
    if schema is not None:
        server_settings["search_path"] = quoted(schema)
    with sorted_errors(lost=TransientError), reaching("RECIBO_MIGRATION_DATABASE_URL"):
        return await _open(url, timeout=timeout_s, server_settings=server_settings)


def quoted(name: str) -> str:
    """`name` as an identifier in SQL."""
    return '"' + name.replace('"', '""') + '"'


@asynccontextmanager
async def pool(
    url: str,
    *,
    application: str,
    size_max: int,
    statement_timeout_s: float = 0.0,
    storage_is_durable: bool = False,
) -> AsyncIterator[Pool]:
    """A pool as the service's role. It opens connections as needed: Postgres may be away at first.

    An acquire raises InvariantError if the connection is no session of Postgres's own, or if the server does
    not write through to its disk, unless `storage_is_durable` says that the storage answers for that.

    The server itself gives up a statement after `statement_timeout_s` (0: never), and then says that
    nothing of it happened, which a client that gives up cannot know. One that does not even say that is
    given up after twice the time.
    """
    opened = asyncpg.create_pool(
        url,
        min_size=0,
        max_size=size_max,
        # What is open and prepared stays so: to open it anew would be on somebody's way.
        max_inactive_connection_lifetime=0.0,
        max_cached_statement_lifetime=0,
        timeout=5.0,
        command_timeout=2 * statement_timeout_s or None,
        reset=_leave_as_it_is,
        connect=functools.partial(_open, writes_through=not storage_is_durable),
        server_settings=_server_settings(application)
        | {"statement_timeout": str(int(statement_timeout_s * 1000))},
    )
    await opened
    try:
        yield opened
    finally:
        # terminate, not close: a connection that hangs must not hold up a shutdown, and every
        # stage has ended its transactions before its pool goes.
        opened.terminate()


@asynccontextmanager
async def borrowed(pool: Pool, *, timeout_s: float) -> AsyncIterator[Connection]:
    """A connection of `pool`, got within `timeout_s`; thrown away if the caller's work with it fails.

    It may be half dead then, or reach a server that leads no more; and asyncpg would wait, before it gave
    it back, for an answer that may not come.
    """
    async with pool.acquire(timeout=timeout_s) as connection:
        try:
            yield connection
        except BaseException:
            # Refused by one that asyncpg has taken back already, for it was seen to be closed.
            with suppress(asyncpg.InterfaceError):
                connection.terminate()
            raise


@asynccontextmanager
async def transaction(connection: Connection) -> AsyncIterator[None]:
    """A transaction of a `borrowed` connection, which is closed where a statement got no answer in time.

    asyncpg would ask such a connection to roll back, and wait for that answer as long again; Postgres does
    by itself once the session ends.
    """
    async with connection.transaction():
        try:
            yield
        except TimeoutError:
            connection.terminate()
            raise


@contextmanager
def reaching(setting: str) -> Iterator[None]:
    """Raise TransientError, which names `setting`, where a first connection does not come about."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise TransientError(f"Postgres cannot be reached ({type(error).__name__}): see {setting}") from error
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        raise TransientError(f"Postgres refuses the login ({error.sqlstate}): see {setting}") from None


@contextmanager
def sorted_errors(lost: type[TransientError] = OutcomeUnknownError) -> Iterator[None]:
    """Turn what asyncpg raises into the family of service.errors.

    A connection lost while a statement ran raises `lost`: in autocommit, or at COMMIT, it may have
    happened. An error that the server itself reported means that it did not.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        # Not chained: asyncpg's own text can quote a value, our words cannot.
        raise _sorted(error, lost) from None
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise lost(
            f"the connection to Postgres was lost: {type(error).__name__}", store="postgres"
        ) from error


async def _open(
    url: str, *, writes_through: bool = False, **options: Any
) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection that is what was asked for. `writes_through`: the server must, for a commit to last.

    Raises InvariantError if it is not, and what asyncpg raises.
    """
    try:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url, **options)
    except asyncpg.ProtocolViolationError as error:
        # A pooler refuses the settings that come with the login; Postgres takes them all.
        raise InvariantError(_pooled(f"it refuses the login's settings, {error.sqlstate}")) from None
    try:
        session = await connection.fetchrow(
            statement(Path(__file__).parent, "session"), timeout=options.get("timeout")
        )
        assert session is not None
        _require_own(session, connection.get_server_pid(), options["server_settings"])
        if writes_through:
            _require_write_through(session)
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError) as error:
        connection.terminate()
        raise InvariantError(_pooled(f"it forgets prepared statements, {error.sqlstate}")) from None
    except BaseException:
        # Not closed: a server that does not answer would be waited for.
        connection.terminate()
        raise
    return connection


def _require_own(session: asyncpg.Record, pid: int, asked: Mapping[str, str]) -> None:
    """Raise InvariantError unless this is a session of Postgres's own, with what was asked for at login."""
    if session["pid"] != pid:
        raise InvariantError(_pooled("the process that answers is not the one that took the login"))
    if session["role"] != asked.get("role", session["role"]):
        raise InvariantError(_pooled(f"the session runs as {session['role']}, not as {asked['role']}"))
    for setting, found in (
        ("statement_timeout", session["statement_timeout_s"]),
        ("idle_in_transaction_session_timeout", session["idle_in_transaction_s"]),
    ):
        if setting in asked and int(asked[setting]) != round(found * 1000):
            raise InvariantError(_pooled(f"{setting} is {found} s, not {int(asked[setting]) / 1000} s"))
    if session["encoding"] != "UTF8":
        raise InvariantError(
            f"the database's encoding is {session['encoding']}, which cannot hold every delivery: "
            "create it with encoding 'UTF8'"
        )


def _pooled(why: str) -> str:
    return (
        f"a pooler stands before Postgres ({why}): its sessions do not keep settings, locks and "
        "notifications. Connect directly: point RECIBO_DATABASE_URL at Postgres itself"
    )


def _require_write_through(session: asyncpg.Record) -> None:
    """Raise InvariantError if a crash of the server's machine may lose what it has confirmed."""
    off = [setting for setting in ("fsync", "full_page_writes") if session[setting] == "off"]
    if off:
        raise InvariantError(
            f"{' and '.join(off)} of Postgres {'is' if len(off) == 1 else 'are'} off: a power cut may lose "
            "what was confirmed. Turn it on, or, where the storage answers for it, set "
            "storage_is_durable = true under [database]"
        )


def literal(text: str) -> str:
    """`text` as a constant in SQL, for the statements that take no parameters."""
    return "'" + text.replace("'", "''") + "'"


def _sorted(error: asyncpg.PostgresError, lost: type[TransientError]) -> Exception:
    state = error.sqlstate or ""
    if isinstance(error, asyncpg.PostgresConnectionError) and state in {"", "08003", "08006", "08007"}:
        return lost(f"the connection to Postgres was lost ({state or 'no code'})", store="postgres")
    if state == "22023" and SERVICE_ROLE in str(error):
        # At login: the role to act as is made by the first migration.
        return TransientError(
            f"the database has no role {SERVICE_ROLE}: run `recibo migrate`", store="postgres"
        )
    if state[:2] in _DATUM_CLASSES:
        return DatumRefusedError(f"Postgres refuses a value of the row ({state})")
    if state == "53100":
        return TransientError(
            "the disk of Postgres is full (53100): free space there (`recibo replay drop-shadow` and "
            "`drop-previous` give back what rebuilds hold), then run the same again; nothing is lost",
            store="postgres",
        )
    if state[:2] in _TRANSIENT_CLASSES:
        return TransientError(f"Postgres cannot do this now ({state})", store="postgres")
    if state == "28P01" or state[:2] in {"28", "3D"}:
        return TransientError(
            f"Postgres refuses the login ({state}): see RECIBO_DATABASE_URL", store="postgres"
        )
    if state in _UNMIGRATED:
        return TransientError(
            f"the database lacks what this release needs ({state}): run `recibo migrate`", store="postgres"
        )
    return InvariantError(f"Postgres refuses the statement ({state} {type(error).__name__})")


async def _leave_as_it_is(_connection: Connection) -> None:
    # asyncpg would send RESET ALL and more at each release, a round trip per append; nobody here
    # leaves a transaction, a lock or a setting behind.
    return


def _server_settings(application: str) -> dict[str, str]:
    return _LIMITS | {
        "role": SERVICE_ROLE,
        "application_name": f"recibo-{application}",
        "timezone": "UTC",
    }
