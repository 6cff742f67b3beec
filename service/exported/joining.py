"""Make one file of facts of several, so that a fold walks few files side by side, however long the log."""

from typing import Final

from service.exported.columns import schema
from service.exported.directory import Directory
from service.exported.manifest import FACTS, File, Manifest
from service.exported.slices import slices
from service.exported.writing import FileWriter

_BYTES_MAX: Final = 67_108_864
"""Of a file, which is made in memory; beyond it there is one more. Facts have some hundred bytes."""


def join(folder: Directory, manifest: Manifest, bucket: int, first: int, last: int) -> list[File]:
    """The facts of `bucket` at the positions `first` to `last` in one new file; in none where there are none.

    The same facts give the same bytes, whatever files they were in. Raises InvariantError where one of these
    is not as the manifest has it.
    """
    joined: list[File] = []
    writer = FileWriter(folder, manifest.origin, FACTS, schema(FACTS))
    for rows in slices(folder, manifest.within(first, last, FACTS, bucket), then="position"):
        if writer.bytes > _BYTES_MAX:
            joined.append(writer.write(bucket=bucket, first=first, last=last))
            writer = FileWriter(folder, manifest.origin, FACTS, schema(FACTS))
        writer.add(rows)
    if writer.rows:
        joined.append(writer.write(bucket=bucket, first=first, last=last))
    return joined
