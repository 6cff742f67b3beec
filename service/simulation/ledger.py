"""The ledger: what was sent, kept by the sender, for the system to be held against.

Out: a file of JSON Lines, one line per request, failed ones and every try of a repeated one included.
A line is written once its answer came (or failed to come), so lines stand in the order of the answers
and `sequence` tells that of sending. `append` returns when the line is fsynced; lines that come while
an fsync runs share the next one. Whoever awaits it before sending on has at most its requests under
way unwritten when the machine stops: a crash of the *sender* can leave as many deliveries in the log
without a line, never a line without a request.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from service.errors import PermanentError, TransientError
from service.simulation.mixing import Mutation


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer. In JSON, `body` is base64 of its exact bytes."""

    sequence: int
    """From 1, in the order of sending."""
    attempt: int
    """From 1; above it the delivery is tried again after a failure."""
    source: str
    kind: str | None
    sent_at: str
    """RFC 3339, the sender's clock."""
    body: bytes
    body_sha256: str
    """Hex."""
    mutation: Mutation
    """What was done to the delivery on purpose."""
    status: int | None = None
    """Of the answer; null where none came."""
    error: str | None = None
    """Why no answer came; null where one did."""
    receipt: str | None = None


class Ledger:
    """An open ledger."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def append(self, line: Line) -> None:
        """Return once `line` is on disk. Raises TransientError where it cannot be written."""
        written = asyncio.get_running_loop().create_future()
        self._waiting.append((_encoder.encode(line) + b"\n", written))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        await written

    async def flushed(self) -> None:
        """Return once nothing waits to be written."""
        if self._flushing is not None:
            await self._flushing

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._write, b"".join(line for line, _ in group))
            except OSError as error:
                _fail(group, error)
            else:
                for _, written in group:
                    if not written.done():
                        written.set_result(None)
        self._flushing = None

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fdatasync(self._descriptor)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Ledger]:
    """A new ledger at `path`. Raises PermanentError where there is a file, or none can be."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        _sync_folder(path.parent)
    except FileExistsError:
        raise PermanentError(f"{path} exists: a ledger is never overwritten, name another file") from None
    except OSError as error:
        raise PermanentError(f"no ledger can be made at {path}: {error.strerror}") from error
    ledger = Ledger(descriptor)
    try:
        yield ledger
    finally:
        await ledger.flushed()
        os.close(descriptor)


def read(path: Path) -> Iterator[Line]:
    """The lines of a ledger; one that a crash cut off at the end is left out."""
    with path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield _decoder.decode(line)


def _sync_folder(folder: Path) -> None:
    # Else a crash could lose the file itself, however often its content was fsynced.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fail(group: list[tuple[bytes, "asyncio.Future[None]"]], error: OSError) -> None:
    for _, written in group:
        if not written.done():
            written.set_exception(TransientError(f"the ledger cannot be written: {error.strerror}"))


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)
