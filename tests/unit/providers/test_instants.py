"""Providers' dates: each text its instant to the nanosecond, local ones by their zone, others refused."""

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.facts import Unreadable
from projections.providers.instants import instant

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SECONDS = st.integers(-9_000_000_000, 9_000_000_000).map(
    lambda seconds: EPOCH.replace(tzinfo=None) + dt.timedelta(seconds=seconds)
)
"""From 1684 to 2255."""
FRACTIONS = st.text("0123456789", min_size=0, max_size=9)
OFFSETS = st.integers(-14 * 60, 14 * 60)


def _written(moment: dt.datetime, fraction: str) -> str:
    return f"{moment.isoformat()}.{fraction}" if fraction else moment.isoformat()


def _nanoseconds(moment: dt.datetime, fraction: str) -> int:
    return (moment - EPOCH) // dt.timedelta(seconds=1) * 10**9 + int(fraction.ljust(9, "0"))


@given(SECONDS, FRACTIONS, OFFSETS, st.sampled_from(["", ":"]))
def test_an_offset_is_taken_off(moment: dt.datetime, fraction: str, minutes: int, colon: str) -> None:
    hours, rest = divmod(abs(minutes), 60)
    offset = f"{'-' if minutes < 0 else '+'}{hours:02}{colon}{rest:02}"
    zoned = moment.replace(tzinfo=dt.timezone(dt.timedelta(minutes=minutes)))

    assert instant(_written(moment, fraction) + offset, "at") == _nanoseconds(zoned, fraction)


@given(SECONDS, FRACTIONS, st.sampled_from(["America/Sao_Paulo", "America/New_York", "UTC"]))
def test_a_local_time_is_one_of_its_zone(moment: dt.datetime, fraction: str, zone: str) -> None:
    local = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone))

    assert instant(_written(moment, fraction), "at", zone=zone) == _nanoseconds(local, fraction)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2018-11-03T23:59:59", "2018-11-04T02:59:59Z"),
        ("2018-11-04T00:30:00", "2018-11-04T03:30:00Z"),  # An hour that the clocks left out.
        ("2018-11-04T01:00:00", "2018-11-04T03:00:00Z"),
        ("2018-02-17T23:30:00", "2018-02-18T01:30:00Z"),  # One that they showed twice: the first.
        ("2018-02-18T00:00:00", "2018-02-18T03:00:00Z"),
    ],
)
def test_local_times_where_summer_time_began_and_ended(text: str, utc: str) -> None:
    assert instant(text, "at", zone="America/Sao_Paulo") == instant(utc, "at")


def test_an_offset_counts_before_the_zone() -> None:
    assert instant("2025-11-03T13:00:00Z", "at", zone="America/Sao_Paulo") == instant(
        "2025-11-03T13:00:00Z", "at"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2025-11-03T13:00Z", "expected a date and time"),
        ("2025-11-03 13:00:00Z", "expected a date and time"),
        ("2025-11-03T13:00:00,5Z", "expected a date and time"),
        ("2025-11-03T13:00:00.1234567891Z", "expected a date and time"),
        ("2025-11-03T13:00:00 Z", "expected a date and time"),
        ("\uff12025-11-03T13:00:00Z", "expected a date and time"),
        ("2025-11-03T13:00:00", "has no offset from UTC"),
        ("2025-02-30T13:00:00", "has no offset from UTC"),
        ("2025-02-30T13:00:00Z", "no such date or time"),
        ("2025-11-03T24:00:00Z", "no such date or time"),
        ("2025-11-03T13:00:60Z", "no such date or time"),
        ("2025-11-03T13:00:00+24:00", "no such date or time"),
        ("0000-01-01T00:00:00Z", "no such date or time"),
        ("0001-01-01T00:00:00+14:00", "outside the years 1678 to 2261"),
        ("9999-12-31T23:59:59.999999999-14:00", "outside the years 1678 to 2261"),
        ("1677-12-31T23:59:59.999999999Z", "outside the years 1678 to 2261"),
        ("2262-01-01T00:00:00Z", "outside the years 1678 to 2261"),
    ],
)
def test_what_is_no_instant_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=f"^at: {reason}"):
        instant(text, "at")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
def test_a_local_time_at_the_end_of_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(Unreadable, match="outside the years"):
        instant(text, "at", zone="America/Sao_Paulo")
