"""A command that freezes while nobody may fold, or read states, does not keep them waiting for long."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from projections.facts import Reading
from projections.fold import fold_version
from service.errors import TransientError
from service.postgres import connect, connect_as_owner
from service.readmodels.positions import Positions
from service.replay import compare as comparing
from service.replay import holding
from service.replay import swap as swapping
from service.replay.holding import SessionEndedError, positions_held
from service.replay.rebuild import build
from service.replay.shadow import exists
from service.replay.site import Site
from tests.commands import environment
from tests.projectors import states
from tests.replays import append, compared, fold_live, lives, rebuilding
from tests.servers import eventually

OTHER = Reading(payer_key=b"another key, so another fold")
POSITIONS = Positions(log="main", fold_version=fold_version(Reading()))
LOCK_THEM = "select from projector_position for update"
LONGER_S = 40
"""Than the limit while the rows are held, and far less than a frozen machine stays so."""


@pytest.fixture
async def folded(database_url: str) -> str:
    await append(database_url, lives(300))
    await fold_live(database_url)
    return database_url


async def _idle(_owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    pass


async def _busy(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    await owner.execute("select pg_sleep(600)")


@pytest.mark.parametrize("doing", [_idle, _busy])
async def test_postgres_ends_a_hold_without_progress(
    folded: str,
    monkeypatch: pytest.MonkeyPatch,
    doing: Callable[["asyncpg.Connection[asyncpg.Record]"], Awaitable[None]],
) -> None:
    monkeypatch.setattr(holding, "HOLD_LIMIT_S", 0.5)
    owner = await connect_as_owner(folded, application="test")
    another = await connect(folded, application="another")

    async def hold() -> None:
        async with positions_held(owner, POSITIONS):
            under_way = asyncio.ensure_future(doing(owner))
            async with asyncio.timeout(LONGER_S):
                await another.execute(LOCK_THEM)
            await asyncio.wait({under_way})

    with pytest.raises(SessionEndedError, match="Postgres ended the session that held the position rows"):
        await hold()

    another.terminate()


async def test_a_hold_that_is_renewed_lasts_as_long_as_its_work(folded: str) -> None:
    owner = await connect_as_owner(folded, application="test")

    async with positions_held(owner, POSITIONS) as hold:
        for _ in range(4):
            await hold.renew(1.0)
            await owner.execute("select pg_sleep(0.5)")
        await owner.execute("create table committed ()")

    assert await owner.fetchval("select to_regclass('committed') is not null")
    owner.terminate()


async def test_a_swap_whose_session_ends_before_the_commit_says_that_it_did_not_happen(
    folded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await asyncpg.connect(folded)
    before = await states(owner)
    async with rebuilding(folded, tmp_path, reading=OTHER) as (site, options):
        await build(site, options)
        _end_the_session(monkeypatch, site, "before")

        with pytest.raises(TransientError, match=r"the swap did not happen: .* run the same command again"):
            await swapping.swap(site, publish_amendments=True)

    assert await states(owner) == before
    assert await owner.fetchval("select max(number) from generation") == 1
    await owner.close()


async def test_a_swap_whose_connection_is_lost_after_the_commit_says_that_it_happened(
    folded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rebuilding(folded, tmp_path, reading=OTHER) as (site, options):
        await build(site, options)
        _end_the_session(monkeypatch, site, "after")

        done = await swapping.swap(site, publish_amendments=True)

        assert (done.generation, await exists(site.writer, "recibo_previous")) == (2, True)


def _end_the_session(monkeypatch: pytest.MonkeyPatch, site: Site, when: str) -> None:
    """End the owner's session before its COMMIT of the exchange is sent, or before the answer is read."""
    really = swapping._swap

    async def swap(*arguments: object, **options: object) -> object:
        done = await really(*arguments, **options)  # type: ignore[arg-type]
        if when == "after":
            await site.owner.execute("commit")
        await site.writer.execute("select pg_terminate_backend($1)", site.owner.get_server_pid())
        return done

    monkeypatch.setattr(swapping, "_swap", swap)


async def test_after_a_deadlock_the_swap_follows_what_changed_and_tries_again_without_a_new_comparison(
    folded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "_LOCK_TIMEOUT_MS", 30_000)
    observer, reader = await asyncpg.connect(folded), await asyncpg.connect(folded)
    # So the swap is the one of the two that sees the deadlock, and ends.
    await observer.execute(f"alter database {folded.rpartition('/')[2]} set deadlock_timeout = '2s'")
    await reader.execute("set deadlock_timeout = '600s'")
    passed = _watched(monkeypatch, folded)

    async with rebuilding(folded, tmp_path, reading=OTHER) as (site, options):
        await build(site, options)
        told = []
        site.tell = lambda phase, done, _total: told.append((phase, done))
        async with reader.transaction():
            await reader.fetchval("select count(*) from cart_state")
            swap = asyncio.create_task(swapping.swap(site, publish_amendments=False))
            await eventually(lambda: _waits(observer, site), what="the swap waits for the reader")
            await reader.fetchval("select count(*) from timeline")
        done = await swap

    assert passed == ["compare_all", "follow", "follow"]
    assert (done.attempts, max(done.positions.values())) == (2, 350)
    assert ("waiting for locks", 1) in told
    await observer.execute("drop schema recibo_previous cascade")
    assert (await compared(folded, tmp_path, reading=OTHER)).equal
    for connection in (observer, reader):
        await connection.close()


def _watched(monkeypatch: pytest.MonkeyPatch, database_url: str) -> list[str]:
    """Which steps of a swap were taken; before it follows a second time, the live states move on."""
    passed: list[str] = []
    compare_all, follow = comparing.compare_all, comparing.follow

    async def compares(site: Site) -> None:
        passed.append("compare_all")
        await compare_all(site)

    async def follows(site: Site) -> None:
        passed.append("follow")
        if passed.count("follow") == 2:
            await append(database_url, lives(350)[300:])
            await fold_live(database_url)
        await follow(site)

    monkeypatch.setattr(swapping, "compare_all", compares)
    monkeypatch.setattr(swapping, "follow", follows)
    return passed


async def _waits(observer: "asyncpg.Connection[asyncpg.Record]", site: Site) -> bool:
    pids = await observer.fetchval("select pg_blocking_pids($1)", site.owner.get_server_pid())
    return bool(pids)


@pytest.mark.parametrize(
    ("what", "crashpoint", "said"),
    [
        ("--swap", "replay.exchanged", "the swap did not happen"),
        ("--compare", "replay.positions_held@2", "the comparison was not finished"),
    ],
)
async def test_a_command_that_freezes_with_locks_loses_them_and_says_so_when_it_goes_on(
    folded: str, tmp_path: Path, what: str, crashpoint: str, said: str
) -> None:
    owner = await asyncpg.connect(folded)
    before = await states(owner)
    frozen = await _recibo(folded, tmp_path, what, f"{crashpoint}:stop")
    await eventually(lambda: _is_stopped(frozen), what="the command is frozen")

    await append(folded, lives(350)[300:])
    async with asyncio.timeout(LONGER_S):
        await states(owner)
        await fold_live(folded)
    os.kill(frozen.pid, signal.SIGCONT)
    _, errors = await frozen.communicate()

    assert (frozen.returncode, said in errors.decode()) == (1, True), errors.decode()
    assert "run the same command again" in errors.decode()
    assert errors.strip().count(b"\n") == 0
    assert await states(owner) != before
    again = await _recibo(folded, tmp_path, what, "")
    _, errors = await again.communicate()
    assert again.returncode == 0, errors.decode()
    await owner.execute("drop schema if exists recibo_previous cascade")
    assert (await compared(folded, tmp_path)).equal
    await owner.close()


async def _recibo(database_url: str, folder: Path, what: str, crashpoint: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "replay", "rebuild", what, f"--spill-folder={folder}"),
        env=environment(database_url, folder, RECIBO_CRASHPOINT=crashpoint),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _is_stopped(process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, await process.communicate()
    stat = await asyncio.to_thread(Path(f"/proc/{process.pid}/stat").read_text, encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"
