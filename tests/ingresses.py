"""A real ingress on a real socket, for as long as a test needs it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.errors import TransientError
from service.ingress import server
from service.ingress.app import build
from service.ingress.batch import GroupCommit
from service.ingress.lifeboat import Append, Lifeboat
from service.ingress.roots import RootOf
from service.settings import IngressSettings, Source
from tests.unit.ingress.spill_fake import SpillFake


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingress:
    """One that accepts connections."""

    port: int
    stopping: asyncio.Event
    stopped: asyncio.Task[None]
    batch: GroupCommit

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def accepts(self) -> bool:
        """Whether a new connection is taken."""
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except ConnectionError:
            return False
        writer.close()
        return True

    async def exchange(self, *parts: bytes) -> bytes:
        """What the ingress sends until it closes, after these bytes were sent one by one."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await asyncio.wait_for(reader.read(), 15)
        finally:
            writer.close()


@asynccontextmanager
async def running_ingress(
    sources: Sequence[Source],
    *,
    append: Append,
    root_of: RootOf,
    settings: IngressSettings,
    spill: SpillFake | None = None,
) -> AsyncIterator[Ingress]:
    """An ingress on a port of its own (`settings.port` 0); stopped, and waited for, afterwards.

    Kafka is away unless there is a `spill`, and nothing looks whether the log is back once it is away.
    """
    lifeboat = Lifeboat(append=append, probe=_no_probe, spill=spill or SpillFake(), log_name="main")
    batch = GroupCommit(lifeboat.keep, settings)

    def health() -> Mapping[str, object]:
        return {**batch.health(), **lifeboat.health()}

    app = build(sources, append=batch.append, root_of=root_of, health=health, settings=settings)
    stopping = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stopped = asyncio.create_task(
        server.serve(app, stopping, drain=batch.drain, settings=settings, listening=port.set_result)
    )
    try:
        yield Ingress(port=await port, stopping=stopping, stopped=stopped, batch=batch)
    finally:
        stopping.set()
        await stopped


async def _no_probe() -> None:
    raise TransientError("nobody probes here")
