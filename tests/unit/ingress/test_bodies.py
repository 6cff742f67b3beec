"""What bodies under way may hold together, and which of them gives way."""

import asyncio
from collections.abc import Coroutine

import pytest

from service.ingress.bodies import Arriving


async def body(arriving: Arriving, count: int, *, late: int = 0) -> None:
    """One of which `count` bytes came and `late` more in the same moment as others', and then nothing."""
    async with asyncio.timeout(60) as patience:
        with arriving.one(patience) as arrival:
            arriving.grow(arrival, count)
            await asyncio.sleep(0)
            arriving.grow(arrival, late)
            await asyncio.Event().wait()


async def test_the_one_that_took_longest_gives_way() -> None:
    arriving = Arriving(100)

    async with asyncio.TaskGroup() as group:
        oldest = group.create_task(_given_up(body(arriving, 60)))
        newest = group.create_task(body(arriving, 60))
        await oldest
        assert not newest.done()
        newest.cancel()


async def test_what_still_comes_of_one_that_gave_way_takes_no_room_from_others() -> None:
    arriving = Arriving(100)

    async with asyncio.TaskGroup() as group:
        oldest = group.create_task(_given_up(body(arriving, 60, late=60)))
        newest = group.create_task(body(arriving, 60))
        await oldest
        newest.cancel()
        await asyncio.wait([newest])
        later = group.create_task(body(arriving, 100))
        await asyncio.wait([later], timeout=0.1)
        assert not later.done()
        later.cancel()


async def _given_up(under_way: Coroutine[None, None, None]) -> None:
    with pytest.raises(TimeoutError):
        await under_way
