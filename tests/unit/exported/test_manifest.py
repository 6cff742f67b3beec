"""Completeness is arithmetic."""

import msgspec
import pytest

from service.errors import InvariantError
from service.exported.manifest import File, Layout, Manifest, Origin, Range

ORIGIN = Origin(log="main", began_at=0, fold_version="1", personal_data=False)


def held(first: int, last: int, quarantined: int = 1) -> Range:
    positions = last - first + 1
    return Range(
        first=first,
        last=last,
        ended_at=last,
        sealed=positions == 100,
        facts=positions - quarantined,
        quarantined=quarantined,
    )


def files(of: Range) -> list[File]:
    rows = {"log": of.positions, "facts": of.facts, "quarantine": of.quarantined}
    return [
        File(
            path=f"{table}/{of.first}-{of.last}",
            table=table,
            bucket=None,
            first=of.first,
            last=of.last,
            rows=count,
            bytes=1,
            sha256="",
        )
        for table, count in rows.items()
    ]


def manifest(*ranges: Range) -> Manifest:
    found = Manifest(origin=ORIGIN, layout=Layout(buckets=1, range_positions=100))
    for each in ranges:
        found = found.with_range(each, files(each))
    return found.with_states([], [])


def test_a_complete_export_has_no_gap() -> None:
    assert list(manifest(held(1, 100), held(101, 130)).gaps()) == []


def test_a_missing_range_is_named() -> None:
    assert list(manifest(held(1, 100), held(201, 230)).gaps()) == ["positions 101 to 200 are missing"]


def test_a_missing_row_is_named() -> None:
    whole = manifest(held(1, 100))
    fewer = [msgspec.structs.replace(file, rows=file.rows - 1) for file in whole.files]

    gaps = list(msgspec.structs.replace(whole, files=tuple(fewer)).gaps())

    assert gaps[0] == "positions 1 to 100: 99 log rows instead of 100"


def test_states_that_lag_behind_are_named() -> None:
    lagging = manifest(held(1, 100)).with_range(held(101, 130), files(held(101, 130)))

    assert list(lagging.gaps()) == ["the states stand at position 100, the facts at 130: export again"]


def test_a_longer_tail_takes_the_place_of_the_old_one() -> None:
    longer = manifest(held(1, 100), held(101, 130)).with_range(held(101, 150), files(held(101, 150)))

    assert [(each.first, each.last) for each in longer.ranges] == [(1, 100), (101, 150)]
    assert {(file.first, file.last) for file in longer.files} == {(1, 100), (101, 150)}


@pytest.mark.parametrize(
    ("head", "ranges"),
    [
        (300, [100, 100, 100]),
        (400, [400]),
        (430, [400, 30]),
        (1_230, [400, 400, 400, 30]),
        (1_600, [1_600]),
        (3_999, [1_600, 1_600, 400, 100, 100, 100, 99]),
        (6_400, [1_600, 1_600, 1_600, 1_600]),
    ],
)
def test_four_full_ranges_become_one_and_four_of_these(head: int, ranges: list[int]) -> None:
    grown = Manifest(origin=ORIGIN, layout=Layout(buckets=1, range_positions=100))
    for first, last in grown.layout.pieces(1, head):
        grown = grown.with_range(held(first, last), files(held(first, last)))
        if joined := grown.layout.joined_at(last):
            facts = files(held(*joined, quarantined=sum(r.quarantined for r in within(grown, *joined))))[1]
            grown = grown.with_joined(*joined, [facts])

    assert [each.positions for each in grown.ranges] == ranges
    assert [file.first for file in grown.of("facts")] == [each.first for each in grown.ranges]
    assert len(grown.of("log")) == -(-head // 100)
    assert list(grown.with_states([], []).gaps()) == []


def within(of: Manifest, first: int, last: int) -> list[Range]:
    return [each for each in of.ranges if first <= each.first and each.last <= last]


def test_a_range_that_is_opened_again_takes_all_of_its_joined_files_along() -> None:
    joined = manifest(*(held(first, first + 99) for first in range(1, 400, 100)))
    joined = joined.with_joined(1, 400, [files(held(1, 400, quarantined=4))[1]])

    again = joined.with_range(held(1, 100), files(held(1, 100)))

    assert [(each.first, each.last) for each in again.ranges] == [(1, 100)]
    assert {(file.first, file.last) for file in again.files} == {(1, 100)}


def test_it_comes_back_from_its_document() -> None:
    whole = manifest(held(1, 100), held(101, 130))

    assert Manifest.decode(whole.encode()) == whole


@pytest.mark.parametrize("document", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 2}'])
def test_a_damaged_one_or_another_format_is_an_error(document: bytes) -> None:
    with pytest.raises(InvariantError, match=r"manifest\.json is"):
        Manifest.decode(document)
