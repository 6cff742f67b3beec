"""The facts of one bucket, from files that are each sorted by the hash of the root.

The files are walked side by side, one slice of hashes after the other, so a process holds a slice and one
row group of each file, however long the log. Every file is compared with the manifest before it is read.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from service.exported.columns import ROOT_HASH
from service.exported.directory import Directory
from service.exported.manifest import File

_ROWS: Final = 4_096
_HASHES: Final = 1 << 32


def slices(
    folder: Directory, files: Sequence[File], *, then: str, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """All rows of `files`, sorted by hash and `then`, some thousand at a time, cut where hashes differ.

    Raises InvariantError where a file is not as the manifest has it.
    """
    cursors = [_Cursor(folder, file, columns) for file in files]
    try:
        count = sum(file.rows for file in files) // _ROWS + 1
        for number in range(1, count + 1):
            found = [rows for cursor in cursors for rows in cursor.below(_HASHES * number // count)]
            if found:
                yield pa.concat_tables(found).sort_by([(ROOT_HASH.name, "ascending"), (then, "ascending")])
    finally:
        for cursor in cursors:
            cursor.close()


class _Cursor:
    """A file, read from its beginning as far as it was asked for."""

    def __init__(self, folder: Directory, file: File, columns: Sequence[str] | None) -> None:
        folder.require(file)
        self._parquet = pq.ParquetFile(folder.open(file.path))
        self._columns = columns
        self._groups = iter(range(self._parquet.num_row_groups))
        self._held: pa.Table | None = None

    def below(self, hash_: int) -> Iterator[pa.Table]:
        """The next rows, as long as the hash of their root is below `hash_`."""
        while (held := self._next()) is not None:
            hashes = held[ROOT_HASH.name]
            if hashes[-1].as_py() < hash_:
                yield held
                self._held = None
                continue
            end = pc.sum(pc.less(hashes, hash_)).as_py()
            if end:
                yield held.slice(0, end)
                self._held = held.slice(end)
            return

    def close(self) -> None:
        self._parquet.close(force=True)

    def _next(self) -> pa.Table | None:
        if self._held is None and (group := next(self._groups, None)) is not None:
            self._held = self._parquet.read_row_group(group, columns=self._columns, use_threads=False)
        return self._held
