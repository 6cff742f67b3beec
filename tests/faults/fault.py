"""What a fault is: a name, the setting that it needs, and the deed.

The setting is entered before the roles start and left after they ended: it arms a role, or puts something
in its way. The deed begins in the midst of the load and returns when the fault is over. Both draw what they
leave to chance from the scene's own generator, so that a name and a seed describe a run.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeAlias

from tests.faults.scene import Scene

Strike: TypeAlias = Callable[[Scene], Awaitable[None]]
Setting: TypeAlias = Callable[[Scene], AbstractAsyncContextManager[None]]


class NotHere(Exception):
    """This machine lacks what the fault needs."""


@asynccontextmanager
async def as_it_is(_scene: Scene) -> AsyncIterator[None]:
    """The usual setting: nothing stands in anybody's way."""
    yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong."""

    name: str
    strike: Strike
    setting: Setting = as_it_is
    begins_after: tuple[int, int] = (200, 600)
    """The seed chooses between: so many receipts come before it."""
    detail: str = ""
    """What the name does not say: of a pair, the two."""


def both(name: str, first: Fault, second: Fault) -> Fault:
    """A fault that is two at once."""

    @asynccontextmanager
    async def setting(scene: Scene) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for fault in (first, second):
                await stack.enter_async_context(fault.setting(scene))
            yield

    async def strike(scene: Scene) -> None:
        async with asyncio.TaskGroup() as deeds:
            for fault in (first, second):
                deeds.create_task(_in_the_midst(scene, fault))

    return Fault(
        name=name,
        strike=strike,
        setting=setting,
        begins_after=(0, 0),
        detail=f"{first.name} + {second.name}",
    )


async def _in_the_midst(scene: Scene, fault: Fault) -> None:
    await scene.load.answered(scene.random.randint(*fault.begins_after))
    await fault.strike(scene)
