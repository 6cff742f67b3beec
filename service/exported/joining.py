"""Make one file of facts of several, so that a fold walks few files side by side, however long the log."""

from service.exported.columns import schema
from service.exported.directory import Directory
from service.exported.manifest import FACTS, File, Manifest
from service.exported.slices import slices
from service.exported.writing import FileWriter


def join(folder: Directory, manifest: Manifest, bucket: int, first: int, last: int) -> list[File]:
    """The facts of `bucket` at the positions `first` to `last` in one new file, or none where there are none.

    The same facts give the same bytes, whatever files they were in. Raises InvariantError where one of these
    is not as the manifest has it.
    """
    files = [file for file in manifest.of(FACTS, bucket) if first <= file.first and file.last <= last]
    if not files:
        return []
    writer = FileWriter(folder, manifest.origin, FACTS, schema(FACTS))
    for rows in slices(folder, files, then="position"):
        writer.add(rows)
    return [writer.write(bucket=bucket, first=first, last=last)]
