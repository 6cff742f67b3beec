"""The ledger: what was sent is on disk before the next thing is, and can be read back."""

import asyncio
import os
from pathlib import Path

import pytest

from service.errors import PermanentError, TransientError
from service.simulation import ledger
from service.simulation.ledger import Line


def line(sequence: int) -> Line:
    return Line(
        sequence=sequence,
        attempt=1,
        source="shop",
        kind=None,
        sent_at="2025-11-03T13:00:00.000000+00:00",
        body=b"\x00not text\xff",
        body_sha256="ab",
        mutation="none",
        status=200,
        receipt=f"main-{sequence}",
    )


async def test_what_was_appended_is_read_back_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    async with ledger.opened(path) as kept:
        for sequence in (1, 2):
            await kept.append(line(sequence))

    assert list(ledger.read(path)) == [line(1), line(2)]


async def test_a_line_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"

    async with ledger.opened(path) as kept:
        await kept.append(line(1))
        assert list(ledger.read(path)) == [line(1)]


async def test_lines_that_come_together_share_an_fsync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)

    async with ledger.opened(tmp_path / "ledger.jsonl") as kept:
        await asyncio.gather(*(kept.append(line(sequence)) for sequence in range(50)))

    assert 1 <= len(synced) <= 2
    assert len(list(ledger.read(tmp_path / "ledger.jsonl"))) == 50


async def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    async with ledger.opened(path) as kept:
        await kept.append(line(1))

    with path.open("ab") as file:
        file.write(b'{"sequence": 2, "att')

    assert list(ledger.read(path)) == [line(1)]


async def test_a_ledger_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text("kept")

    with pytest.raises(PermanentError, match="never overwritten"):
        async with ledger.opened(path):
            pass

    assert path.read_text() == "kept"


async def test_a_folder_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="no ledger can be made"):
        async with ledger.opened(tmp_path / "nowhere" / "ledger.jsonl"):
            pass


async def test_a_line_that_cannot_be_written_fails_its_sender(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async with ledger.opened(tmp_path / "ledger.jsonl") as kept:
        monkeypatch.setattr(os, "fdatasync", full)
        with pytest.raises(TransientError, match="No space left"):
            await kept.append(line(1))
