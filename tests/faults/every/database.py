"""What the database holds, is told, or is reached through, while the server itself is well."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from service.localstack.ports import free_port
from service.postgres import connect
from service.relay.partitions import AHEAD, LOGS
from service.runtime import EXIT_HALTED
from tests.faults.every.postgres import head_held, owner, restarted
from tests.faults.fault import Fault, NotHere
from tests.faults.scene import ROLES, Scene
from tests.faults.supervision import PATIENCE_S, Supervised
from tests.poison import HEAD_BEHIND
from tests.servers import eventually

_POISON: Final = """
create function poison() returns trigger language plpgsql as $$
begin
    if get_byte(new.body_sha256, 0) < 8 then
        raise sqlstate '{sqlstate}' using message = 'a value of the row';
    end if;
    return new;
end
$$;
create trigger poison before insert on delivery_log for each row execute function poison();
"""
"""Three deliveries of a hundred, always the same ones."""


async def _poisoned(scene: Scene, sqlstate: str) -> None:
    """Postgres refuses a value of some deliveries, directly and out of the spill; the others go on."""
    async with owner(scene) as connection:
        await connection.execute(_POISON.format(sqlstate=sqlstate))
        await scene.load.answered(600)
        assert not scene.roles["ingress"].has_said("ingress.log_away"), "a refused row became an outage"
        async with head_held(scene, "deliveries"):
            await scene.load.answered(300)
        await scene.roles["drain"].said("log.delivery_refused")
        await connection.execute("drop trigger poison on delivery_log; drop function poison")
        assert await connection.fetchval("select count(*) from refused_delivery") > 0


async def poisoned_rows(scene: Scene) -> None:
    """A data exception (class 22)."""
    await _poisoned(scene, "22P02")


async def rows_over_a_limit(scene: Scene) -> None:
    """A program limit (class 54)."""
    await _poisoned(scene, "54000")


async def head_behind(scene: Scene) -> None:
    """The head row is behind its table (class 23): the spill takes over, the drain waits for a human."""
    drain = scene.roles["drain"]
    async with owner(scene) as connection:
        await connection.execute(HEAD_BEHIND)
        await scene.roles["ingress"].said("23505")
        await scene.load.answered(200)
        await drain.died(EXIT_HALTED)
        await scene.lasting(5)
        await connection.execute(
            "update log_head set last_position = (select max(position) from delivery_log)"
            " where log = 'deliveries'"
        )
    await drain.hold()
    await drain.start()
    await drain.healthy()


@asynccontextmanager
async def _commits_not_waited_for(scene: Scene) -> AsyncIterator[None]:
    async with owner(scene) as connection:
        name = scene.database_url.rpartition("/")[2]
        await connection.execute(f'alter database "{name}" set synchronous_commit = off')
    yield


async def killed_again_and_again(scene: Scene) -> None:
    """Three immediate restarts under load: what a commit did not wait for is gone each time."""
    for _ in range(3):
        await restarted(scene)
        await scene.load.answered(400)


@asynccontextmanager
async def _readers_of_the_default_partitions(scene: Scene) -> AsyncIterator[None]:
    """Transactions that have read them, as a dump has, from before the roles start."""
    connection = await asyncpg.connect(scene.database_url)
    await connection.execute("begin")
    for table in ("delivery_log_default", "event_log_default"):
        await connection.fetch(f"select from {table} limit 1")
    try:
        yield
    finally:
        connection.terminate()


async def partitions_beside_readers(scene: Scene) -> None:
    """Partitions are to be made while somebody reads: no append waits, and later they are made."""
    relay = scene.roles["relay"]
    await relay.said("partitions.not_made")
    service = await connect(scene.database_url, application="partitions")
    for _ in range(20):
        for log in LOGS:
            try:
                await service.fetchval("select ensure_partitions($1, $2)", log, AHEAD)
            except asyncpg.LockNotAvailableError:
                continue
            raise AssertionError("a partition was made under a reader")
        await scene.load.answered(10)
    service.terminate()
    assert not scene.roles["ingress"].has_said("ingress.log_away"), "appends waited for a partition"
    async with owner(scene) as connection:
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and state = 'idle in transaction' and application_name = ''"
        )
    await relay.hold()
    await relay.start()
    await relay.said("partitions.made")


_BOUNCER: Final = """
[databases]
* = host=127.0.0.1 port={there} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {here}
auth_type = any
pool_mode = transaction
unix_socket_dir =
logfile = {log}
{settings}
"""
_IGNORED: Final = (
    "ignore_startup_parameters = role,statement_timeout,idle_in_transaction_session_timeout,"
    "tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count"
)


async def pooler_in_between(scene: Scene) -> None:
    """Roles whose URL is a transaction pooler's halt; those that reach Postgres go on."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        raise NotHere("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    for name, settings in (("refusing", ""), ("ignoring", _IGNORED)):
        async with _bouncer(scene, program, name, settings) as pooled:
            for kind in ROLES:
                await _halts(scene, kind, f"{kind}-{name}", pooled)
        await scene.load.answered(100)


async def _halts(scene: Scene, kind: str, name: str, url: str) -> None:
    environment = scene.environments[kind] | {"RECIBO_DATABASE_URL": url}
    role = Supervised(kind, name=name, folder=scene.folder, environment=environment)
    await role.start()
    try:
        await role.died(EXIT_HALTED)
        assert role.has_said("Connect directly"), role.last_words()
    finally:
        await role.end()


@asynccontextmanager
async def _bouncer(scene: Scene, program: str, name: str, settings: str) -> AsyncIterator[str]:
    """A PgBouncer before the database, which pools by transaction; its URL."""
    there = urlsplit(scene.database_url)
    here = free_port()
    folder = Path("/tmp") / f"recibo-bouncer-{os.getpid()}-{here}"  # noqa: S108  It may not run as root.
    folder.mkdir()
    config = folder / f"{name}.ini"
    config.write_text(
        _BOUNCER.format(
            there=there.port, user=there.username, here=here, log=folder / "log", settings=settings
        )
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if nobody:
        os.chown(folder, 65534, 65534)
    process = await asyncio.create_subprocess_exec(
        *nobody, program, "--quiet", str(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    async def answers() -> bool:
        assert process.returncode is None, (folder / "log").read_text()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", here)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await eventually(answers, what="the pooler answers", timeout_s=PATIENCE_S)
        yield urlunsplit(there._replace(netloc=f"{there.username}@127.0.0.1:{here}"))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        shutil.rmtree(folder)


DATABASE: Final = (
    Fault(name="database.poisoned_rows", strike=poisoned_rows),
    Fault(name="database.rows_over_a_limit", strike=rows_over_a_limit),
    Fault(name="database.head_behind", strike=head_behind),
    Fault(
        name="database.synchronous_commit_off",
        strike=killed_again_and_again,
        setting=_commits_not_waited_for,
    ),
    Fault(name="database.pooler_in_between", strike=pooler_in_between),
    Fault(
        name="database.partitions_beside_readers",
        strike=partitions_beside_readers,
        setting=_readers_of_the_default_partitions,
    ),
)
