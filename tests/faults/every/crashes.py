"""Every crash point that `service.crashpoints` names: there the role is killed, stopped, or fails.

At which time it comes by is the seed's choice. What only happens while Postgres is away is brought about
by holding the head row of the log: appends give up then, and the spill takes what comes.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

from service import crashpoints
from service.wiring import ROLES
from tests.faults.every.postgres import head_held
from tests.faults.fault import Fault
from tests.faults.scene import Scene

DEEDS: Final = ("kill", "stop", "raise")

_SIGKILLED: Final = -9
_STOPPED_S: Final = 20.0
_SPILLED: Final = 100
_FEW_TIMES: Final = (2, 8)
_TIMES: Final = {
    "ingress.appended": (20, 200),
    "relay.sent": (3, 30),
    "relay.checkpointed": (3, 30),
    "relay.committed": (3, 30),
}
"""How often a point is passed before it strikes; a point that is passed seldom strikes soon."""


def places() -> Iterator[str]:
    """Each point that a role passes, that of the relay once for each log.

    Replay and export are commands: tests/guarantees/test_a_killed_replay_goes_on.py and
    test_an_export_is_whole.py kill them.
    """
    for name in crashpoints.NAMES:
        if name.partition(".")[0] not in ROLES:
            continue
        if name.startswith("relay."):
            yield from (f"{name}/deliveries", f"{name}/events")
        else:
            yield name


def crash(place: str, deed: str) -> Fault:
    """A role that comes to grief at a crash point."""
    kind = place.partition(".")[0]

    @asynccontextmanager
    async def armed(scene: Scene) -> AsyncIterator[None]:
        times = scene.random.randint(*_TIMES.get(place.partition("/")[0], _FEW_TIMES))
        scene.environments[kind]["RECIBO_CRASHPOINT"] = f"{place}@{times}:{deed}"
        yield

    async def strike(scene: Scene) -> None:
        if place == "ingress.spilled":
            async with _spilling(scene):
                await _happened(scene, kind, deed)
            return
        if kind == "drain":
            async with _spilling(scene):
                await scene.load.answered(_SPILLED)
        await _happened(scene, kind, deed)

    # It happens when the role comes by, so somebody must look from the beginning.
    return Fault(name=f"{place}:{deed}", strike=strike, setting=armed, begins_after=(0, 0))


@asynccontextmanager
async def _spilling(scene: Scene) -> AsyncIterator[None]:
    """From some moment on nothing can be appended to the log."""
    await scene.load.answered(scene.random.randint(100, 400))
    async with head_held(scene, "deliveries"):
        yield


async def _happened(scene: Scene, kind: str, deed: str) -> None:
    """Return once the role came to grief and works again."""
    role = scene.roles[kind]
    if deed == "kill":
        await role.died(_SIGKILLED)
    elif deed == "stop":
        await role.stopped()
        await scene.lasting(_STOPPED_S)
        role.thaw()
    else:
        await role.said(crashpoints.CrashpointError.__name__)
    await role.healthy()


CRASHES: Final = tuple(crash(place, deed) for deed in DEEDS for place in places())
