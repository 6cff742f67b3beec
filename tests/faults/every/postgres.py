"""What a Postgres does to those who rest on it."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg

from tests.faults.fault import Fault, NotHere
from tests.faults.scene import Scene
from tests.faults.supervision import PATIENCE_S
from tests.servers import database_named, eventually

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_NOBODY: Final = 65_534
_SPILLED: Final = 100


@asynccontextmanager
async def owner(scene: Scene) -> AsyncIterator[Connection]:
    """A connection of the owner, who may do anything."""
    connection = await asyncpg.connect(scene.database_url)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def head_held(scene: Scene, log: str) -> AsyncIterator[None]:
    """Another session holds the head row of a log: nobody appends to it."""
    async with owner(scene) as connection, connection.transaction():
        await connection.execute("select from log_head where log = $1 for update", log)
        yield


async def _terminated(scene: Scene, *, role: str, log: str) -> None:
    """End the role's backend while it appends to a log, three times."""
    for _ in range(3):
        async with owner(scene) as observer, head_held(scene, log):
            await eventually(
                lambda: _end_those_who_wait(observer, role),
                what=f"{role} waits for the head row of the {log}",
                timeout_s=PATIENCE_S,
            )


async def _end_those_who_wait(observer: Connection, role: str) -> bool:
    ended = await observer.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and application_name = $1 and wait_event_type = 'Lock'",
        f"recibo-{role}",
    )
    return bool(ended)


async def terminated_during_append(scene: Scene) -> None:
    """The ingress's backend is ended in the midst of an append."""
    await _terminated(scene, role="ingress", log="deliveries")


async def terminated_while_folding(scene: Scene) -> None:
    """The projector's backend is ended at the end of its transaction."""
    await _terminated(scene, role="projector", log="events")


async def restarted(scene: Scene) -> None:
    """An immediate stop, without a checkpoint, and a start at once."""
    await asyncio.to_thread(scene.servers.postgres.kill)
    await scene.servers.give_back_postgres()


async def away(scene: Scene) -> None:
    """Gone for half a minute."""
    await asyncio.to_thread(scene.servers.postgres.kill)
    await scene.lasting(30)
    await scene.servers.give_back_postgres()


async def read_only(scene: Scene) -> None:
    """As after a failover to a standby that was not promoted."""
    async with owner(scene) as connection:
        await connection.execute("alter system set default_transaction_read_only = on")
        await connection.execute("select pg_reload_conf()")
        try:
            await scene.load.answered(_SPILLED)
            await scene.lasting(10)
        finally:
            await connection.execute("set default_transaction_read_only = off")
            await connection.execute("alter system reset default_transaction_read_only")
            await connection.execute("select pg_reload_conf()")


_STUCK: Final = """
create sequence stuck;
create function sleep_at_commit() returns trigger language plpgsql security definer as $$
begin
    if nextval('stuck') in (1, 40) then perform pg_sleep(6); end if;
    return null;
end
$$;
create constraint trigger stuck after insert on delivery_log deferrable initially deferred
    for each row execute function sleep_at_commit();
"""
_UNSTUCK: Final = "drop trigger stuck on delivery_log; drop function sleep_at_commit; drop sequence stuck"


async def stuck_commit(scene: Scene) -> None:
    """Two commits that do not end: the rows were taken, the client waits, the head row is locked."""
    async with owner(scene) as connection:
        await connection.execute(_STUCK)

        async def both_slept() -> bool:
            reached: int = await connection.fetchval("select last_value from stuck")
            return reached > 40

        await eventually(both_slept, what="two commits got stuck", timeout_s=PATIENCE_S)
        await connection.execute(_UNSTUCK)


async def behind_locks(scene: Scene) -> None:
    """Another session holds the head row of either log."""
    async with head_held(scene, "deliveries"), head_held(scene, "events"):
        await scene.load.answered(_SPILLED)
        await scene.lasting(10)


@asynccontextmanager
async def unrelated_transaction(scene: Scene) -> AsyncIterator[None]:
    """A write transaction of somebody else is open for the whole run."""
    async with owner(scene) as connection:
        await connection.execute("create table unrelated (number integer)")
        async with connection.transaction():
            await connection.execute("insert into unrelated values (1)")
            yield


@asynccontextmanager
async def slow_commits(scene: Scene) -> AsyncIterator[None]:
    """Each commit waits for 50 ms, for the whole run."""
    async with owner(scene) as connection:
        await connection.execute("alter system set commit_delay = 50000")
        await connection.execute("alter system set commit_siblings = 0")
        await connection.execute("select pg_reload_conf()")
    try:
        yield
    finally:
        async with owner(scene) as connection:
            await connection.execute("alter system reset commit_delay")
            await connection.execute("alter system reset commit_siblings")
            await connection.execute("select pg_reload_conf()")


async def slots_exhausted(scene: Scene) -> None:
    """Others hold every connection slot, those of the roles too."""
    async with AsyncExitStack() as stack, owner(scene) as observer:
        await _take_slots(scene, stack)
        await observer.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and application_name like 'recibo-%'"
        )
        await _take_slots(scene, stack)
        await scene.load.answered(_SPILLED)
        await scene.lasting(10)


async def _take_slots(scene: Scene, stack: AsyncExitStack) -> None:
    while True:
        try:
            connection = await asyncpg.connect(scene.database_url)
        except asyncpg.TooManyConnectionsError:
            return
        stack.callback(connection.terminate)


@asynccontextmanager
async def _on_a_small_disk(scene: Scene) -> AsyncIterator[None]:
    """The database in a file system of 64 MB."""
    disk = scene.folder / "small"
    disk.mkdir()
    name = scene.database_url.rpartition("/")[2]
    if failed := await _run("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)):
        raise NotHere(f"no file system can be mounted here: {failed}")
    os.chown(disk, _NOBODY, _NOBODY)
    admin = await asyncpg.connect(database_named(scene.database_url, "postgres"))
    try:
        await admin.execute(f"create tablespace {name} location '{disk}'")
        await admin.execute(f"alter database {name} set tablespace {name}")
        yield
    finally:
        (disk / "ballast").unlink(missing_ok=True)
        await admin.execute(f"drop database {name} with (force)")
        await admin.execute(f"drop tablespace if exists {name}")
        await admin.close()
        assert not await _run("umount", str(disk))


async def _run(*command: str) -> str:
    """What a command that failed says; empty where it did not."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await process.communicate()
    return output.decode().strip() or "failed" if process.returncode else ""


async def disk_full(scene: Scene) -> None:
    """Not a byte is left where the tables are."""
    disk = scene.folder / "small"
    ballast = disk / "ballast"
    await asyncio.to_thread(_fill, ballast, shutil.disk_usage(disk).free)
    spills = scene.roles["ingress"]
    await spills.said("ingress.log_away")
    await scene.load.answered(_SPILLED)
    await scene.lasting(10)
    ballast.unlink()


def _fill(ballast: Path, free: int) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            for _ in range(free // 4096 + 1):
                file.write(bytes(4096))
        except OSError:
            return


async def goes_on(scene: Scene) -> None:
    """Nothing more than the setting."""
    await scene.load.answered(1000)


def _fault(strike: Callable[[Scene], Awaitable[None]], name: str) -> Fault:
    return Fault(name=f"postgres.{name}", strike=strike)


POSTGRES: Final = (
    _fault(terminated_during_append, "terminated_during_append"),
    _fault(terminated_while_folding, "terminated_while_folding"),
    _fault(restarted, "immediate_restart"),
    _fault(away, "away"),
    _fault(read_only, "read_only"),
    _fault(stuck_commit, "stuck_commit"),
    _fault(behind_locks, "lock_waits"),
    Fault(name="postgres.unrelated_transaction", strike=goes_on, setting=unrelated_transaction),
    Fault(name="postgres.commit_delay", strike=goes_on, setting=slow_commits),
    _fault(slots_exhausted, "slots_exhausted"),
    Fault(name="postgres.disk_full", strike=disk_full, setting=_on_a_small_disk),
)
