"""Each fault of Kafka, and a restart of each role within it: none may wait for ever."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tests.faults.every.kafka import away, restarted, stopped
from tests.faults.fault import Fault
from tests.faults.scene import ROLES, Scene

_WITHIN_S: Final = 5.0


def _with_a_restart(name: str, strike: Callable[[Scene], Coroutine[Any, Any, None]], kind: str) -> Fault:
    async def both(scene: Scene) -> None:
        role = scene.roles[kind]
        async with asyncio.TaskGroup() as deeds:
            deeds.create_task(strike(scene))
            await scene.lasting(scene.random.uniform(0, _WITHIN_S))
            await role.hold()
            await role.start()
        await role.healthy()

    return Fault(name=f"restart.{kind}.kafka_{name}", strike=both)


RESTARTS: Final = tuple(
    _with_a_restart(name, strike, kind)
    for name, strike in (("stopped", stopped), ("away", away), ("killed", restarted))
    for kind in ROLES
)
