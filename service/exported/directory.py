"""A folder of files, here or behind any URL that fsspec knows.

A file is whole or not there: locally it is written under another name, synced and then named; object
stores do so by themselves. The manifest is a file like the others, and always the last to be written.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from service.crashpoints import crashpoint
from service.errors import InvariantError, PermanentError, TransientError
from service.exported.manifest import NAME, File, Manifest

_PART: Final = ".part"
_OURS: Final = re.compile(
    r"manifest\.json\.part|[a-z_]+/(bucket=\d{4,}/)?\d{12,}-\d{12,}-[0-9a-f]{16}\.parquet(\.part)?"
)
"""Only such a file is ever removed: the folder may hold other things."""
_CHUNK_BYTES: Final = 1 << 20


class Directory:
    """The files below `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        with _sorted_errors(url):
            try:
                self.files, self._root = fsspec.core.url_to_fs(url)
            except (ImportError, ValueError) as error:
                raise PermanentError(f"{url} cannot be opened: {error}") from None
        self.is_local = isinstance(self.files, LocalFileSystem)
        real = os.path.realpath(self._root) if self.is_local else self._root
        self.place: str = self.files.unstrip_protocol(real)
        """The one name of the folder, however it was called."""

    def manifest(self) -> Manifest | None:
        """What the folder holds by its own word; null without any. Raises InvariantError if damaged."""
        with _sorted_errors(self.url):
            try:
                document: bytes = self.files.cat_file(self.path(NAME))
            except FileNotFoundError:
                return None
        return Manifest.decode(document)

    def export(self) -> Manifest:
        """The manifest of a folder that must have one. Raises PermanentError."""
        found = self.manifest()
        if found is None:
            raise PermanentError(f"{self.url} holds no {NAME}: it is no export, or was never finished")
        return found

    def end(self, manifest: Manifest) -> int:
        """Make `manifest` the folder's, then remove what it does not name; how many files that were."""
        self.write(NAME, manifest.encode())
        crashpoint("export.manifest_written")
        strangers = self.strangers(manifest)
        for name in strangers:
            self.remove(name)
        return len(strangers)

    def path(self, name: str) -> str:
        """Where `name` is, as the file system takes it."""
        return f"{self._root}/{name}"

    def open(self, name: str) -> BufferedIOBase:
        """The file `name`, to be read. Raises FileNotFoundError."""
        with _sorted_errors(self.url):
            opened: BufferedIOBase = self.files.open(self.path(name), "rb")
            return opened

    def write(self, name: str, data: bytes) -> None:
        """Write the file `name`, whole or not at all.

        Raises TransientError; PermanentError where there is no such bucket.
        """
        with _sorted_errors(self.url):
            if self.is_local:
                _write_local(Path(self.path(name)), data)
            else:
                try:
                    self.files.pipe_file(self.path(name), data)
                except FileNotFoundError:
                    raise PermanentError(f"{self.url}: there is no such bucket: make it first") from None
        crashpoint("export.file_written")

    def strangers(self, manifest: Manifest) -> list[str]:
        """What an export put there, whole or not, and `manifest` does not name."""
        named = {file.path for file in manifest.files}
        return sorted(name for name in self._sizes().keys() - named if _OURS.fullmatch(name))

    def require_all(self, manifest: Manifest) -> None:
        """Raise InvariantError unless all that `manifest` names is there, and as long: by one listing."""
        sizes = self._sizes()
        for file in manifest.files:
            if sizes.get(file.path) != file.bytes:
                self.require(file)

    def _sizes(self) -> dict[str, int]:
        with _sorted_errors(self.url):
            self.files.invalidate_cache()
            found = self.files.find(self._root, detail=True)
        return {path.removeprefix(self._root).lstrip("/"): about["size"] for path, about in found.items()}

    def remove(self, name: str) -> None:
        """Remove the file `name`, if it is there."""
        with _sorted_errors(self.url):
            try:
                self.files.rm_file(self.path(name))
            except FileNotFoundError:
                return

    def fault(self, file: File) -> str | None:
        """What is wrong with `file`, in words; null for one that is as the manifest has it."""
        digest, size = hashlib.sha256(), 0
        try:
            with self.open(file.path) as opened:
                while chunk := opened.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            return f"{file.path} is missing"
        if size < file.bytes:
            return f"{file.path} is cut short: {size} of {file.bytes} bytes"
        if digest.hexdigest() != file.sha256:
            return f"{file.path} was changed: its sha256 is not the manifest's"
        return None

    def require(self, file: File) -> None:
        """Raise InvariantError unless `file` is as the manifest has it."""
        if (fault := self.fault(file)) is not None:
            raise InvariantError(f"{self.url}: {fault}; bring the file back, or export to a new folder")


def states_directory(url: str) -> Directory:
    """The folder that a replay may write states to. Raises PermanentError if it holds an export."""
    folder = Directory(url)
    found = folder.manifest()
    if found is not None and found.ranges:
        raise PermanentError(f"{url} holds an export, whose states would be lost: take another folder")
    return folder


def _write_local(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + _PART)
    middle = len(data) // 2
    with part.open("wb") as opened:
        opened.write(data[:middle])
        opened.flush()
        crashpoint("export.half_written")
        opened.write(data[middle:])
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    # A rename is durable once its directory is.
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextmanager
def _sorted_errors(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TransientError(
            f"{url}: {error.strerror or type(error).__name__}; what was exported before is whole: "
            "mend it, then run the same again"
        ) from error
