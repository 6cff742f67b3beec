"""A person's instants: the zone is São Paulo's unless said, a day is its end there, nothing is guessed."""

import pytest

from service.errors import PermanentError
from service.replay.instants import parsed
from tests.bodies import ns


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-11-03T16:02:10.120034551Z", "2025-11-03T16:02:10.120034551Z"),
        ("2025-11-03T13:02:10", "2025-11-03T16:02:10Z"),
        ("2025-11-03T13:02", "2025-11-03T16:02:00Z"),
        ("2025-11-03 13:02", "2025-11-03T16:02:00Z"),
        ("2025-11-03T13:02+02:00", "2025-11-03T11:02:00Z"),
        ("2025-11-03T13:02Z", "2025-11-03T13:02:00Z"),
        ("2025-11-03", "2025-11-04T02:59:59.999999999Z"),
        ("2025-12-31", "2026-01-01T02:59:59.999999999Z"),
        # In summer the clocks were an hour ahead; on the day before, midnight did not exist.
        ("2018-12-25", "2018-12-26T01:59:59.999999999Z"),
        ("2018-11-03", "2018-11-04T02:59:59.999999999Z"),
    ],
)
def test_an_instant_is_read(text: str, instant: str) -> None:
    assert parsed(text) == ns(instant)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2025-02-30", "2025-11-03T25:00", "2025-11-03T13", "13:02", "1600-01-01", "9999-12-31"],
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(PermanentError, match="write 2025-11-03 "):
        parsed(text)
