"""The states are rebuilt and swapped in under load, as an operator does it: no harm, but as risky.

First equal states, so that the generation and with it every id stays; then others, and from there on the ids
are of the next generation. Nothing may be missing or doubled on either side.
"""

from typing import Final

import orjson

from tests.faults.every.postgres import owner
from tests.faults.fault import Fault
from tests.faults.scene import Scene

STRIP_ROWS: Final = 100
"""So few that the log has several strips, and each process gets some."""


async def swapped(scene: Scene) -> None:
    """Three times; what was live before goes before the next."""
    await _swap(scene, generation=1)
    await scene.load.answered(200)
    await scene.command("replay", "drop-previous")
    await _swap(scene, generation=1)
    await scene.load.answered(200)
    await scene.command("replay", "drop-previous")
    await _change_by_hand(scene)
    await _swap(scene, generation=2)


async def _change_by_hand(scene: Scene) -> None:
    """Make the live states other ones than the log's."""
    async with owner(scene) as connection, connection.transaction():
        # Else the projector, which takes the rows of states in its own order, might wait in a circle with it.
        await connection.execute("select from projector_position order by partition for update")
        await connection.execute("update order_state set method = 'by hand'")


async def _swap(scene: Scene, *, generation: int) -> None:
    answered = scene.load.acknowledged()
    summary = orjson.loads(
        await scene.command(
            *("replay", "rebuild", "--swap"),
            *(f"--strip-rows={STRIP_ROWS}", "--processes=2", f"--spill-folder={scene.folder}"),
        )
    )
    done = summary["swapped"]
    assert done["generation"] == generation, f"the swap found other differences than there are: {summary}"
    assert summary["rows"] > STRIP_ROWS, f"the log was one strip long: {summary}"
    assert scene.load.acknowledged() > answered, "nothing was answered meanwhile"
    assert max(done["positions"].values()) > summary["rows"], f"nothing was folded meanwhile: {summary}"


REPLAY: Final = (Fault(name="replay.swap", strike=swapped),)
