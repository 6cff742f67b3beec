"""Providers' dates as nanoseconds since the epoch, UTC: nothing that was sent is cut.

`2025-11-03T10:15:42.120034551` has nine digits, which a datetime would cut to six.
"""

import datetime as dt
import re
import zoneinfo
from typing import Final

from projections.facts import INSTANT_MAX_NS, INSTANT_MIN_NS, Unreadable

_matched: Final = re.compile(
    r"\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.(\d{1,9}))?(Z|[+-]\d\d:?\d\d)?", re.ASCII
).fullmatch
"""Every delivery has a date or two, so digits stand one by one: a repeat costs a loop."""
_read: Final = dt.datetime.fromisoformat
"""Looked up once."""
_SECOND_NS: Final = 1_000_000_000
_PLACE_NS: Final = tuple(10 ** (9 - digits) for digits in range(10))
"""What one in the last digit of a fraction is, by their number."""
_DAY_NS: Final = 86_400 * _SECOND_NS
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LOCAL_EPOCH: Final = _EPOCH.replace(tzinfo=None)


def instant(text: str, field: str, *, zone: str | None = None) -> int:
    """The instant that `text` (RFC 3339) names, in nanoseconds since the epoch.

    A text without an offset is local time of `zone` (IANA). Raises Unreadable, also for one without
    both, and beyond the years 1678 to 2261, which nanoseconds in a bigint cannot tell.
    """
    match = _matched(text)
    if match is None:
        raise Unreadable(f"{field}: expected a date and time such as 2025-11-03T13:02:10.412Z")
    fraction, offset = match.groups()
    if offset is None and zone is None:
        raise Unreadable(f"{field}: has no offset from UTC")
    try:
        moment = _read(text)
        since = moment - _EPOCH if offset else moment - _LOCAL_EPOCH - _offset(zone or "", moment)
    except ValueError:
        raise Unreadable(f"{field}: no such date or time") from None
    nanoseconds = since.days * _DAY_NS + since.seconds * _SECOND_NS
    if fraction is not None:
        nanoseconds += int(fraction) * _PLACE_NS[len(fraction)]
    if not INSTANT_MIN_NS <= nanoseconds < INSTANT_MAX_NS:
        raise Unreadable(f"{field}: outside the years 1678 to 2261")
    return nanoseconds


def _offset(zone: str, moment: dt.datetime) -> dt.timedelta:
    """From UTC, of `zone` at the local time `moment`."""
    offset = zoneinfo.ZoneInfo(zone).utcoffset(moment)
    assert offset is not None
    return offset


def latest(*dates: tuple[str, str | None]) -> tuple[int, str] | None:
    """The latest of the dates that are there, given as (field, text): its instant and its text.

    Of equal instants the first one's text. Raises Unreadable for one that is none.
    """
    found: tuple[int, str] | None = None
    for field, text in dates:
        if text and (found is None or text != found[1]):
            at = instant(text, field)
            if found is None or at > found[0]:
                found = at, text
    return found
