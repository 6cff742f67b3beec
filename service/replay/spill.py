"""Facts on disk, sorted into buckets by their root, so that a rebuild holds one bucket in memory at a time.

In: the facts of a stretch of the log. Out: one immutable segment file for it, in which each bucket's
facts stand together, and later a bucket's facts from all segments, in log order; the same of the outbox's
ids, for a verification. A segment has its name only once it is fsynced; one that the shadow schema does
not know of is a crash's leftover.
"""

import errno
import os
import shutil
import struct
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from projections.facts import Fact
from service.errors import PermanentError, TransientError

Arrival = tuple[int, Fact]
"""A fact with the position of the delivery that states it."""

Named = tuple[int, str, str]
"""A record of the outbox: its position there, its root, its id."""

_Record = TypeVar("_Record", Arrival, Named)

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OFFSET: Final = struct.Struct("<Q")


class Segment(msgspec.Struct, frozen=True):
    """A file of the spill folder."""

    name: str
    size: int


def bucket_of(root: str, buckets: int) -> int:
    """Where the facts of `root` go."""
    return zlib.crc32(root.encode()) % buckets


class Sorter:
    """The records of a stretch of a log, by bucket, until they are written."""

    def __init__(self, buckets: int) -> None:
        self._buckets = buckets
        self._records: dict[int, list[Arrival | Named]] = defaultdict(list)
        self.count = 0

    def add(self, root: str, record: Arrival | Named) -> None:
        """Take one more, of `root`."""
        self._records[bucket_of(root, self._buckets)].append(record)
        self.count += 1

    def drain(self) -> dict[int, list[Arrival | Named]]:
        """What was taken since the last drain, by bucket."""
        drained, self._records, self.count = self._records, defaultdict(list), 0
        return drained


class Spill:
    """The segments of one rebuild."""

    def __init__(self, folder: Path, buckets: int) -> None:
        self._folder = folder
        self._buckets = buckets

    def write(self, name: str, records: Mapping[int, Sequence[Arrival | Named]]) -> Segment:
        """Write a segment durably. Raises TransientError where the disk is full."""
        parts = [_encode(records.get(bucket, ())) for bucket in range(self._buckets)]
        offsets, end = [], _OFFSET.size * (self._buckets + 1)
        for part in parts:
            offsets.append(end)
            end += len(part)
        offsets.append(end)
        path, partial = self._folder / name, self._folder / f"{name}.part"
        try:
            write_durably(partial, [*map(_OFFSET.pack, offsets), *parts])
            partial.rename(path)
            _sync_folder(self._folder)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise _disk_error(error, self._folder) from None
        return Segment(name, end)

    def arrivals(self, segments: Sequence[Segment], bucket: int) -> Iterator[list[Arrival]]:
        """The facts of `bucket`, segment by segment. Raises PermanentError where one is damaged."""
        return self._read(segments, bucket, _arrivals)

    def named(self, segments: Sequence[Segment], bucket: int) -> Iterator[list[Named]]:
        """The outbox's records of `bucket`, segment by segment. Raises PermanentError likewise."""
        return self._read(segments, bucket, _named)

    def _read(
        self, segments: Sequence[Segment], bucket: int, decoder: "msgspec.msgpack.Decoder[list[_Record]]"
    ) -> Iterator[list[_Record]]:
        for segment in segments:
            try:
                yield decoder.decode(self._slice(segment, bucket))
            except (OSError, OverflowError, struct.error, msgspec.DecodeError):
                raise PermanentError(
                    f"{self._folder / segment.name} is missing or damaged: start anew with --restart"
                ) from None

    def _slice(self, segment: Segment, bucket: int) -> bytes:
        with (self._folder / segment.name).open("rb") as file:
            head = os.pread(file.fileno(), 2 * _OFFSET.size, bucket * _OFFSET.size)
            first, end = _OFFSET.unpack_from(head), _OFFSET.unpack_from(head, _OFFSET.size)
            return os.pread(file.fileno(), end[0] - first[0], first[0])

    def keep_only(self, segments: Collection[Segment]) -> None:
        """Remove what a crash left unrecorded. Raises PermanentError where a recorded one is not whole."""
        sizes = {segment.name: segment.size for segment in segments}
        try:
            found = {path.name: path.stat().st_size for path in self._folder.iterdir()}
        except FileNotFoundError:
            found = {}
        for name, size in sizes.items():
            if found.get(name) != size:
                raise PermanentError(
                    f"{self._folder / name} is not as this rebuild wrote it: start anew with --restart"
                )
        for name in found.keys() - sizes.keys():
            (self._folder / name).unlink()

    def make(self) -> None:
        """Make the folder. Raises PermanentError where it cannot be."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PermanentError(
                f"{self._folder} cannot be made ({error.strerror}): name another place with --spill-folder"
            ) from None

    def remove(self) -> None:
        """Remove all segments."""
        shutil.rmtree(self._folder, ignore_errors=True)


def write_durably(path: Path, parts: Sequence[bytes]) -> None:
    """Write `parts` to the new file `path` and fsync it. Raises OSError."""
    with path.open("wb") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Else a crash could lose the name, however well its content was kept.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(error: OSError, folder: Path) -> TransientError:
    if error.errno in _FULL:
        return TransientError(
            f"the disk of {folder} is full: free some 600 bytes for each delivery of the log and run the "
            "same command again, it goes on from here; or start anew on another one with --restart and "
            "--spill-folder"
        )
    return TransientError(f"{folder} cannot be written ({error.strerror}): mend that, then run again")


_encode: Final = msgspec.msgpack.Encoder().encode
_arrivals: Final = msgspec.msgpack.Decoder(list[Arrival])
_named: Final = msgspec.msgpack.Decoder(list[Named])
