"""End an aiokafka client, in whatever state it is, without being drawn into it.

`stop` of aiokafka 0.14 can wait without end for a broker that is away (a producer that still holds a
batch), and can raise CancelledError although nobody cancelled it (a consumer whose fetch fails meanwhile),
which would end the caller's task as if it had been asked to. So it runs in a task of its own.
"""

import asyncio
from typing import Final, Protocol

import structlog

logger = structlog.get_logger()

PATIENCE_S: Final = 5.0

_ending: set["asyncio.Task[None]"] = set()
"""Those that take longer: referred to here, so that they can come to their end."""


class Client(Protocol):
    """A consumer or producer of aiokafka's."""

    async def stop(self) -> None:
        """Flush, leave, close."""
        ...


async def end(client: Client) -> None:
    """Return once `client` has stopped, or does not within PATIENCE_S: then it ends by itself, later.

    What goes wrong is told and otherwise of no interest: the client is thrown away, because of an error or
    at the end of the process.
    """
    ending = asyncio.create_task(client.stop())
    _ending.add(ending)
    ending.add_done_callback(_ended)
    await asyncio.wait({ending}, timeout=PATIENCE_S)
    if not ending.done():
        logger.warning("kafka.client_not_stopped", client=type(client).__name__)


def _ended(ending: "asyncio.Task[None]") -> None:
    _ending.discard(ending)
    if not ending.cancelled() and (error := ending.exception()) is not None:
        logger.warning("kafka.client_not_stopped", error=type(error).__name__)
