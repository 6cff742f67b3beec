"""SIGKILL at any moment of a rebuild and a swap; run again, it gives the same result."""

import asyncio
import datetime as dt
import random
import signal
import sys
from pathlib import Path

import asyncpg
import orjson
import pytest

from tests.commands import environment
from tests.projectors import states
from tests.replays import append, fold_live, lives, naive_states, verified

IN_A_WORKER = (
    "replay.spilled@3",
    "replay.bucket_written@2",
    "replay.bucket_folded@2",
    "replay.table_indexed",
)
"""Passed by every process of a rebuild."""
IN_THE_FIRST = ("replay.indexed", "replay.positions_held@2", "replay.exchanged", "replay.swapped")
POINTS = [
    *((point, processes) for point in IN_A_WORKER for processes in (1, 2)),
    *((point, 1) for point in IN_THE_FIRST),
]
BY_HAND = "update order_state set method = 'by hand' where provider = 'gen'"


@pytest.mark.parametrize(("point", "processes"), POINTS)
async def test_killed_there_and_run_again(
    database_url: str, tmp_path: Path, point: str, processes: int
) -> None:
    owner, expected = await _prepared(database_url)
    live = await states(owner)

    code, said = await _replay(database_url, tmp_path, processes, crashpoint=point)
    assert code == (-signal.SIGKILL if processes == 1 else 1), said
    if point != "replay.swapped":
        assert await states(owner) == live
    else:
        assert (await states(owner)) == expected
    code, said = await _replay(database_url, tmp_path, processes)

    if point == "replay.swapped":
        assert code == 5
        assert "drop-previous" in said
    else:
        assert code == 0, said
    await _assert_swapped_once(database_url, owner, expected, tmp_path)


async def test_killed_while_it_catches_up_and_run_again(database_url: str, tmp_path: Path) -> None:
    owner, _ = await _prepared(database_url)
    code, said = await _replay(database_url, tmp_path, 1, "rebuild")
    assert code == 0, said
    await fold_live(database_url)

    code, said = await _replay(database_url, tmp_path, 1, crashpoint="replay.caught_up")
    assert code == -signal.SIGKILL, said
    code, said = await _replay(database_url, tmp_path, 1)

    assert code == 0, said
    await owner.execute("drop schema recibo_previous cascade")
    await owner.close()
    assert (await verified(database_url, tmp_path)).holds


async def test_states_as_of_now_killed_and_run_again_are_as_of_then(
    database_url: str, tmp_path: Path
) -> None:
    rows = lives(2_000)
    await append(database_url, rows[:1_500])
    words = ("as-of", "--into=then")
    code, said = await _replay(database_url, tmp_path, 1, *words, crashpoint="replay.bucket_written@1")
    assert code == -signal.SIGKILL, said
    await append(database_url, rows[1_500:])

    other = await _replay(
        database_url, tmp_path, 1, *words, "--known-at", dt.datetime.now(dt.UTC).isoformat()
    )
    code, said = await _replay(database_url, tmp_path, 1, *words)

    assert (other[0], "asked for something else" in other[1]) == (5, True)
    assert code == 0, said
    owner = await asyncpg.connect(database_url)
    expected = await naive_states(owner, up_to=1_500)
    found = await owner.fetch('select root, status, facts from "then".order_state')
    await owner.close()
    assert {row["root"]: (row["status"], row["facts"]) for row in found} == {
        root: (each.order.status, each.order.facts)
        for root, each in expected.items()
        if each.order is not None
    }


async def test_killed_at_any_moment_and_run_again(database_url: str, tmp_path: Path) -> None:
    owner, expected = await _prepared(database_url)
    rng = random.Random(5)

    for _ in range(8):
        await _replay(database_url, tmp_path, 2, kill_after_s=0.6 + rng.random() * 2.5)
        if await owner.fetchval("select to_regnamespace('recibo_previous') is not null"):
            break
    else:
        code, said = await _replay(database_url, tmp_path, 2)
        assert code == 0, said

    await _assert_swapped_once(database_url, owner, expected, tmp_path)


async def _prepared(
    database_url: str,
) -> tuple["asyncpg.Connection[asyncpg.Record]", dict[str, list[tuple[object, ...]]]]:
    """Live states that a swap changes, and what they are then."""
    await append(database_url, lives(2_000))
    await fold_live(database_url, up_to=1_800)
    owner = await asyncpg.connect(database_url)
    expected = await states(owner)
    await owner.execute(BY_HAND)
    return owner, expected


async def _assert_swapped_once(
    database_url: str,
    owner: "asyncpg.Connection[asyncpg.Record]",
    expected: dict[str, list[tuple[object, ...]]],
    tmp_path: Path,
) -> None:
    assert await states(owner) == expected
    rows = await owner.fetch("select number from generation order by number")
    amended = await owner.fetch(
        "select event_id from event_log where headers ->> 'ce_type' = 'order.amended' and event_id ~ '@0002'"
    )
    changed = await owner.fetchval(
        "select count(*) from recibo_previous.order_state where method = 'by hand'"
    )
    assert [row["number"] for row in rows] == [1, 2]
    assert len(amended) == len(set(amended)) == changed > 0
    await owner.execute("drop schema recibo_previous cascade")
    await owner.close()
    assert (await verified(database_url, tmp_path)).holds
    assert not [path for path in _files(tmp_path) if path.suffix != ".toml"]


async def _replay(
    database_url: str,
    folder: Path,
    processes: int,
    *what: str,
    crashpoint: str = "",
    kill_after_s: float | None = None,
) -> tuple[int, str]:
    """`recibo replay rebuild`, with --swap unless said, as a process; its exit code and what it said."""
    arguments = what or ("rebuild", "--swap", "--publish-amendments")
    if arguments[0] == "rebuild":
        arguments = (*arguments, "--strip-rows=300")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "replay", *arguments),
        *(f"--processes={processes}", f"--spill-folder={folder}"),
        env=environment(database_url, folder, RECIBO_CRASHPOINT=crashpoint),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    if kill_after_s is not None:
        await asyncio.sleep(kill_after_s)
        if process.returncode is None:
            process.kill()
    output, errors = await process.communicate()
    assert process.returncode is not None
    if process.returncode == 0 and not what:
        assert orjson.loads(output.splitlines()[-1])["swapped"]["generation"] == 2
    return process.returncode, errors.decode()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
