"""A folder may be behind any URL; what cannot be written leaves what was there."""

import asyncio
import errno
import os
from pathlib import Path

import pytest

from service.errors import InvariantError, PermanentError, TransientError
from service.exported import check, pool
from service.exported import duckdb as duckdb_file
from service.exported.directory import Directory, states_directory
from tests.exports import export_made_up


def test_an_export_behind_a_url_is_whole_and_folds(tmp_path: Path) -> None:
    url = f"memory://{tmp_path}"
    manifest = asyncio.run(export_made_up(1_000, url)).manifest
    opened = Directory(url)

    assert list(check.faults(opened, opened.export())) == []
    assert sorted(pool.fold(opened, manifest).contents) == manifest.contents()
    duckdb_file.write(opened, tmp_path / "recibo.duckdb")
    assert (tmp_path / "recibo.duckdb").exists()
    assert manifest == asyncio.run(export_made_up(1_000, str(tmp_path / "local"))).manifest


def test_a_full_disk_is_a_clear_error_and_the_old_export_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(export_made_up(500, str(tmp_path)))

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as filled:
        filled.setattr("os.fsync", full)
        with pytest.raises(TransientError, match="No space left on device"):
            asyncio.run(export_made_up(1_000, str(tmp_path)))

    opened = Directory(str(tmp_path))
    manifest = opened.export()
    assert manifest.last == 500
    assert all(opened.fault(file) is None for file in manifest.files)


def test_states_are_never_written_over_an_export(tmp_path: Path) -> None:
    asyncio.run(export_made_up(100, str(tmp_path)))

    with pytest.raises(PermanentError, match="holds an export"):
        states_directory(str(tmp_path))


def test_a_folder_without_a_manifest_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"holds no manifest\.json"):
        Directory(str(tmp_path)).export()


def test_a_damaged_manifest_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")

    with pytest.raises(InvariantError, match="damaged"):
        Directory(str(tmp_path)).export()


def test_a_bucket_that_is_not_there_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_bucket(*_args: object, **_options: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")  # As s3fs has it.

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.pipe_file", no_such_bucket)

    with pytest.raises(PermanentError, match="no such bucket: make it first"):
        asyncio.run(export_made_up(100, "memory://nowhere/export"))


def test_an_unknown_url_is_a_clear_error() -> None:
    with pytest.raises(PermanentError, match="cannot be opened"):
        Directory("nosuch://bucket/export")
