"""How far a replay is stands on stderr where that is a terminal, phase by phase, and nowhere else."""

import asyncio
import os
import pty
import sys
import termios
from asyncio.subprocess import PIPE
from pathlib import Path

import orjson
import pytest

from service.replay import shadow
from tests.commands import environment
from tests.replays import append, fold_live, lives

REBUILD = ("rebuild", "--compare", "--processes", "1", "--strip-rows", "20")
ROWS = 300


@pytest.fixture
async def folded(database_url: str) -> str:
    await append(database_url, lives(ROWS))
    await fold_live(database_url)
    return database_url


async def replay(
    database_url: str, folder: Path, *arguments: str, stderr: int = PIPE
) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "replay", *arguments),
        env=environment(database_url, folder, TERM="xterm", TMPDIR=str(folder)),
        stdout=PIPE,
        stderr=stderr,
    )
    output, errors = await process.communicate()
    return process.returncode, output.decode(), (errors or b"").decode()


async def on_a_terminal(database_url: str, folder: Path, *arguments: str) -> tuple[int | None, str, str]:
    """What a replay ends with, what it prints, and what its terminal gets."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    shown = asyncio.create_task(asyncio.to_thread(_all_of, ours))
    try:
        code, output, _ = await replay(database_url, folder, *arguments, stderr=theirs)
    finally:
        os.close(theirs)
        seen = await shown
        os.close(ours)
    return code, output, seen


def _all_of(terminal: int) -> str:
    chunks = []
    while True:
        try:
            chunks.append(os.read(terminal, 65_536))
        except OSError:  # Nobody has the other end open any more.
            return b"".join(chunks).decode()


def frames(seen: str, phase: str) -> list[str]:
    """The lines of `phase`, in the order in which the terminal got them."""
    return [line for line in seen.split("\r") if f"{phase} \x1b" in line]


async def test_a_terminal_sees_every_phase_of_a_rebuild_with_rate_and_time_left(
    folded: str, tmp_path: Path
) -> None:
    code, output, seen = await on_a_terminal(folded, tmp_path, *REBUILD)

    assert (code, output.count("\n")) == (0, 1)
    at = [seen.index(phase) for phase in ("reading", "folding", "indexing", "comparing")]
    assert at == sorted(at)
    for phase, total in (("reading", ROWS), ("folding", ROWS), ("indexing", len(shadow.BULKY))):
        first, last = frames(seen, phase)[0], frames(seen, phase)[-1]
        assert ("/s" in first, "-:--:--" in first) == (False, True)
        assert ("/s" in last, "0:00:00" in last, f"{total}/{total}" in last) == (True, True, True)
    summary = orjson.loads(output)
    assert summary["rows"] == ROWS
    assert f"{summary['roots']}/{summary['roots']}" in frames(seen, "comparing")[-1]


async def test_what_the_live_states_gained_is_seen_to_be_caught_up(folded: str, tmp_path: Path) -> None:
    await replay(folded, tmp_path, *REBUILD)
    await append(folded, lives(ROWS, seed=2))
    await fold_live(folded)

    code, _, seen = await on_a_terminal(folded, tmp_path, *REBUILD)

    assert code == 0
    assert f"{ROWS}/{ROWS}" in frames(seen, "catching up")[-1]
    assert "reading" not in seen


async def test_a_terminal_sees_every_phase_of_a_verification(folded: str, tmp_path: Path) -> None:
    code, _, seen = await on_a_terminal(folded, tmp_path, "verify")

    phases = ("reading", "folding", "indexing", "comparing", "checking ids", "comparing ids")
    assert code == 0
    assert [phase for phase in phases if not frames(seen, phase)] == []


@pytest.mark.parametrize("arguments", [REBUILD, ("verify",), ("as-of", "--into", "then")])
async def test_a_pipe_gets_nothing_of_it(folded: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, output, errors = await replay(folded, tmp_path, *arguments)

    assert (code, errors) == (0, "")
    assert output.count("\n") == 1
    assert orjson.loads(output)["rows"] == ROWS
