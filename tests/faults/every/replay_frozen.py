"""A command freezes with locks that stop the projector, and after the exchange every reader of states.

Its kernel goes on answering for it, so no server sees that it is gone. Within the time that the command may
hold the locks they are free again, the command says later that nothing happened, and run again it succeeds.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

from service.eventlog import head
from service.replay.holding import HOLD_LIMIT_S
from tests.faults.every.postgres import owner
from tests.faults.every.replay import STRIP_ROWS
from tests.faults.fault import Fault, Strike
from tests.faults.scene import Scene
from tests.faults.supervision import PATIENCE_S
from tests.servers import eventually

_FREED_S: Final = HOLD_LIMIT_S + 15.0
"""Two cores may be busy with other things."""


def frozen(what: str, crashpoint: str, said: str) -> Strike:
    """Freeze `recibo replay rebuild` with the option `what` at `crashpoint`."""

    async def strike(scene: Scene) -> None:
        words = (
            *("replay", "rebuild", what),
            *(f"--strip-rows={STRIP_ROWS}", "--processes=2", f"--spill-folder={scene.folder}"),
        )
        process = await _started(scene, crashpoint, *words)
        try:
            await eventually(lambda: _is_stopped(process), what="the command is frozen", timeout_s=PATIENCE_S)
            async with asyncio.timeout(_FREED_S):
                await _read_and_fold(scene)
            assert await _is_stopped(process)
            os.kill(process.pid, signal.SIGCONT)
            _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 1, errors.decode()
        assert said in errors.decode(), errors.decode()
        await scene.command(*words)

    return strike


async def _started(scene: Scene, crashpoint: str, *words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", *words),
        env=scene.environments["drain"] | {"RECIBO_CRASHPOINT": f"{crashpoint}:stop"},
        stdout=PIPE,
        stderr=PIPE,
    )


async def _is_stopped(process: Process) -> bool:
    assert process.returncode is None, await process.communicate()
    stat = await asyncio.to_thread(Path(f"/proc/{process.pid}/stat").read_text, encoding="ascii")
    return stat.rpartition(")")[2].split()[0] == "T"


async def _read_and_fold(scene: Scene) -> None:
    """Return once states can be read, and what is in the log by now is folded."""
    async with owner(scene) as connection:
        await connection.fetchval("select count(*) from order_state")
        end = await head.position(connection, "deliveries")

        async def folded() -> bool:
            reached: int | None = await connection.fetchval("select max(position) from projector_position")
            return reached is not None and reached >= end

        await eventually(folded, what="the projector goes on", timeout_s=PATIENCE_S)


REPLAY_FROZEN: Final = (
    Fault(
        name="replay.swap_frozen",
        strike=frozen("--swap", "replay.exchanged", "the swap did not happen"),
    ),
    Fault(
        name="replay.comparison_frozen",
        strike=frozen("--compare", "replay.positions_held@2", "the comparison was not finished"),
    ),
)
