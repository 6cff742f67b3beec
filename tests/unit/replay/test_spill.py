"""What goes to disk comes back by bucket, in log order; what is not whole is noticed."""

import errno
from pathlib import Path

import pytest

from service.errors import PermanentError, TransientError
from service.replay import spill
from service.replay.spill import Arrival, Segment, Sorter, Spill, bucket_of
from tests.facts import fact

BUCKETS = 4


def arrivals(count: int, first: int = 1) -> list[Arrival]:
    return [
        (position, fact("paid", position, root=f"shop:order:o-{position % 7}"))
        for position in range(first, first + count)
    ]


def written(folder: Spill, name: str, told: list[Arrival]) -> Segment:
    sorter = Sorter(BUCKETS)
    for one in told:
        sorter.add(one[1].root, one)
    return folder.write(name, sorter.drain())


def test_every_bucket_has_its_roots_in_log_order(tmp_path: Path) -> None:
    folder = Spill(tmp_path, BUCKETS)
    told = arrivals(60)

    segments = [written(folder, "a", told[:25]), written(folder, "b", told[25:])]

    for bucket in range(BUCKETS):
        found = [one for page in folder.arrivals(segments, bucket) for one in page]
        assert found == [one for one in told if bucket_of(one[1].root, BUCKETS) == bucket]


def test_what_is_not_recorded_is_removed_and_what_is_stays(tmp_path: Path) -> None:
    folder = Spill(tmp_path, BUCKETS)
    kept, _ = written(folder, "kept", arrivals(5)), written(folder, "left", arrivals(5))
    (tmp_path / "torn.part").write_bytes(b"half")

    folder.keep_only([kept])

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("damage", ["gone", "cut", "none of ours"])
def test_a_damaged_segment_is_noticed(tmp_path: Path, damage: str) -> None:
    folder = Spill(tmp_path, BUCKETS)
    segment = written(folder, "one", arrivals(20))
    path = tmp_path / "one"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:60] if damage == "cut" else b"\xff" * segment.size)

    with pytest.raises(PermanentError, match="--restart"):
        _ = [list(folder.arrivals([segment], bucket)) for bucket in range(BUCKETS)]
    if damage != "none of ours":
        with pytest.raises(PermanentError, match="--restart"):
            folder.keep_only([segment])


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_part_of_a_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(path: Path, _parts: object) -> None:
        path.write_bytes(b"half")
        raise OSError(code, "full")

    monkeypatch.setattr(spill, "write_durably", full)

    with pytest.raises(TransientError, match="is full: free"):
        written(Spill(tmp_path, BUCKETS), "one", arrivals(5))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(PermanentError, match="--spill-folder"):
        Spill(tmp_path / "file" / "below", BUCKETS).make()
