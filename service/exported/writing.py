"""Write tables as Parquet: the same rows give the same bytes under the same name.

In: Arrow tables, cut by bucket. Out: files in a folder, and what the manifest says of each. A file is
built in memory and then written whole; its name ends in its own digest, so writing it again after a
crash puts the same bytes in the same place.
"""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from service.exported.columns import FEW_VALUES, ROOT_HASH, schema
from service.exported.directory import Directory
from service.exported.manifest import Content, File, Origin

_ROWS_PER_GROUP: Final = 1024
"""A fold holds one group of every file of its bucket."""
_DIGITS: Final = 16
_ORIGIN_KEY: Final = b"recibo"


class FileWriter:
    """One Parquet file, growing in memory until it is written."""

    def __init__(self, folder: Directory, origin: Origin, table: str, columns: pa.Schema) -> None:
        self._folder = folder
        self._table = table
        self._columns = columns.with_metadata({_ORIGIN_KEY: msgspec.json.encode(origin)})
        self._buffer = BytesIO()
        # A dictionary of values that do not return makes files a tenth larger, and slower to read.
        self._writer = pq.ParquetWriter(
            self._buffer, self._columns, compression="zstd", use_dictionary=FEW_VALUES
        )
        self._waiting: list[pa.Table] = []
        """Less than a row group."""
        self.rows = 0

    @property
    def bytes(self) -> int:
        """What it takes in memory, but for the last rows."""
        return self._buffer.tell()

    def add(self, rows: pa.Table) -> None:
        """Append `rows`."""
        self.rows += rows.num_rows
        waiting = pa.concat_tables([*self._waiting, rows])
        full = waiting.num_rows - waiting.num_rows % _ROWS_PER_GROUP
        if full:
            self._write_groups(waiting.slice(0, full))
        self._waiting = [waiting.slice(full)] if waiting.num_rows > full else []

    def write(self, *, bucket: int | None, first: int, last: int, content: Content | None = None) -> File:
        """End the file and put it in the folder."""
        for rows in self._waiting:
            self._write_groups(rows)
        self._writer.close()
        data = self._buffer.getvalue()
        digest = hashlib.sha256(data).hexdigest()
        where = self._table if bucket is None else f"{self._table}/bucket={bucket:04}"
        path = f"{where}/{first:012}-{last:012}-{digest[:_DIGITS]}.parquet"
        self._folder.write(path, data)
        return File(
            path=path,
            table=self._table,
            bucket=bucket,
            first=first,
            last=last,
            rows=self.rows,
            bytes=len(data),
            sha256=digest,
            content=content,
        )

    def _write_groups(self, rows: pa.Table) -> None:
        self._writer.write_table(rows.replace_schema_metadata(self._columns.metadata), _ROWS_PER_GROUP)


def by_bucket(rows: pa.Table, buckets: int) -> Iterator[tuple[int, pa.Table]]:
    """`rows` by bucket, each sorted by the hash of the root; empty ones are left out."""
    hashes = rows[ROOT_HASH.name]
    numbers = pc.subtract(hashes, pc.multiply(pc.divide(hashes, buckets), buckets))
    for bucket in range(buckets):
        found = rows.filter(pc.equal(numbers, bucket))
        if found.num_rows:
            yield bucket, found.sort_by([(ROOT_HASH.name, "ascending"), ("position", "ascending")])


def empty(directory: Directory, origin: Origin, table: str) -> File:
    """A file without rows, so that a reader finds the columns of a table of which there is nothing."""
    columns_of = schema(table, personal_data=origin.personal_data)
    return FileWriter(directory, origin, table, columns_of).write(bucket=None, first=1, last=0)


def origin_of(data: bytes) -> Origin | None:
    """Which export the Parquet file `data` says that it is of; null where it says nothing."""
    try:
        metadata = pq.read_schema(BytesIO(data)).metadata or {}
        return msgspec.json.decode(metadata[_ORIGIN_KEY], type=Origin)
    except (pa.ArrowException, OSError, KeyError, msgspec.DecodeError):
        return None
