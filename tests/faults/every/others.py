"""Consumers that come and go, two that believe they own a partition, and clocks that disagree."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.faults.fault import Fault, NotHere
from tests.faults.scene import Scene

_SESSION_S: Final = 12.0
"""A little more than Kafka waits for a silent member of a group."""


async def rebalances(scene: Scene) -> None:
    """A second projector joins and leaves every few seconds, sometimes without a farewell."""
    for _ in range(4):
        async with scene.another("projector") as second:
            await second.said("projector.taken_over")
            await scene.load.answered(300)
            if scene.random.random() < 0.5:
                await second.stop()


async def zombie(scene: Scene) -> None:
    """A projector that was swapped out goes on with partitions that went to another one."""
    first = scene.roles["projector"]
    async with scene.another("projector") as second:
        await second.said("projector.taken_over")
        first.freeze()
        # Not shortened: only after it the group takes the partitions away.
        await scene.load.answered(int(_SESSION_S * 200))
        first.thaw()
        await scene.load.answered(400)


@asynccontextmanager
async def _stopped_holding_its_rows(scene: Scene) -> AsyncIterator[None]:
    scene.environments["projector"]["RECIBO_CRASHPOINT"] = "projector.written@4:stop"
    yield


async def rows_held_by_a_zombie(scene: Scene) -> None:
    """As `zombie`, but it was swapped out in the midst of its transaction, with its rows locked."""
    first = scene.roles["projector"]
    await first.stopped()
    async with scene.another("projector"):
        await scene.load.answered(int(_SESSION_S * 200))
        first.thaw()
        await scene.load.answered(400)


def _clocks(name: str, offsets: dict[str, str]) -> Fault:
    @asynccontextmanager
    async def setting(scene: Scene) -> AsyncIterator[None]:
        library = _library()
        if library is None:
            raise NotHere("libfaketime is not installed (Debian: apt-get install libfaketime)")
        for kind, offset in offsets.items():
            scene.environments[kind] |= {
                "LD_PRELOAD": str(library),
                "FAKETIME": offset,
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        yield

    return Fault(name=f"clocks.{name}", strike=goes_on, setting=setting)


def _library() -> Path | None:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


async def goes_on(scene: Scene) -> None:
    """Nothing more than the setting."""
    await scene.load.answered(1000)


OTHERS: Final = (
    Fault(name="consumers.rebalances", strike=rebalances),
    Fault(name="consumers.zombie", strike=zombie),
    Fault(
        name="consumers.rows_held_by_a_zombie",
        strike=rows_held_by_a_zombie,
        setting=_stopped_holding_its_rows,
    ),
    _clocks("ingress_ahead", {"ingress": "+1h", "relay": "-1h", "projector": "+0", "drain": "-1h"}),
    _clocks("ingress_behind", {"ingress": "-1h", "relay": "+1h", "projector": "-1h", "drain": "+1h"}),
)
