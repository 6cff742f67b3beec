"""Waiting that a shutdown can end."""

import asyncio


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Return after `seconds`, or at once when `stopping` is set."""
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return
