"""One process's share of a rebuild: strips of the log into segments, buckets of facts into states.

In: jobs, one at a time. Out: what became of each, recorded in the shadow schema before it is told. A
crash loses the job under way, which a resumed rebuild does again from its beginning.

`python -m service.replay.worker` takes its task and its jobs as lines of JSON on stdin and answers on
stdout; it ends with its parent, whose end of the pipe closes.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from service import telemetry
from service.crashpoints import crashpoint
from service.errors import ReciboError, TransientError
from service.postgres import Connection, connect, connect_as_owner, sorted_errors
from service.replay import locks, shadow
from service.replay.folding import BucketFolder
from service.replay.ids import IdCheck
from service.replay.jobs import Bucket, Done, EventStrip, Failed, Ids, Index, Job, Strip, Task
from service.replay.reading import StripReader
from service.replay.spill import Spill


class Worker:
    """Does jobs, one at a time."""

    def __init__(self, task: Task, reader: Connection, writer: Connection) -> None:
        spill = Spill(Path(task.folder), task.buckets)
        self._schema = task.goal.schema
        self._reader = reader
        self._writer = writer
        self._strips = StripReader(task, reader, writer, spill)
        self._buckets = BucketFolder(task, writer, spill)
        self._ids = IdCheck(task, reader, writer, spill)

    async def do(self, job: Job) -> Done:
        """Do `job`, and record it. Raises ReciboError."""
        with sorted_errors(lost=TransientError):
            match job:
                case Strip():
                    return await self._strips.read(job)
                case Bucket():
                    return await self._buckets.fold(job)
                case Index():
                    return await self._index(job)
                case EventStrip():
                    return await self._ids.read(job)
                case Ids():
                    return await self._ids.check(job)

    async def _index(self, job: Index) -> Done:
        live = await shadow.live_schema(self._reader)
        await shadow.index(self._writer, self._schema, live, shadow.BULKY[job.number])
        crashpoint("replay.table_indexed")
        return Done(job.number, {})


@asynccontextmanager
async def opened(task: Task) -> AsyncIterator[Worker]:
    """A worker with connections of its own."""
    reader = await connect(task.database_url, application="replay")
    try:
        writer = await connect_as_owner(task.owner_url, application="replay", schema=task.goal.schema)
        try:
            await locks.share(writer, task.goal.schema)
            # Who takes the schema over commits durably, and with that all of this. What a crash of Postgres
            # takes before, records and rows alike, is done again.
            await writer.execute("set synchronous_commit = off")
            yield Worker(task, reader, writer)
        finally:
            writer.terminate()
    finally:
        reader.terminate()


def main() -> None:
    """Do the jobs that come on stdin until it closes."""
    telemetry.configure(level="critical")
    # Facts and states hold no cycles: a look for some after each job is enough, and costs a tenth less.
    gc.disable()
    uvloop.run(_work())


async def _work() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    async with opened(task) as worker:
        # What is loaded by now stays: the looks below need not go over it each time.
        gc.freeze()
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            sys.stdout.buffer.write(msgspec.json.encode(await answer(worker, _decode(line))) + b"\n")
            sys.stdout.buffer.flush()
            gc.collect()


async def answer(worker: Worker, job: Job) -> Done | Failed:
    """What `job` came to, or why it failed."""
    try:
        return await worker.do(job)
    except ReciboError as error:
        return Failed.of(error)


_decode: Final = msgspec.json.Decoder(Job).decode


if __name__ == "__main__":
    main()
