"""Providers' dates as nanoseconds since the epoch, UTC: nothing that was sent is cut.

`2025-11-03T10:15:42.120034551` has nine digits, which a datetime would cut to six.
"""

import datetime as dt
import functools
import re
import zoneinfo
from typing import Final

from projections.facts import INSTANT_MAX_NS, INSTANT_MIN_NS, Unreadable

_INSTANT: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}):(\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:?\d{2})?", re.ASCII
)
_SECOND_NS: Final = 1_000_000_000
_SECONDS_A_MINUTE: Final = 60
_SECONDS_A_DAY: Final = 86_400
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def instant(text: str, field: str, *, zone: str | None = None) -> int:
    """The instant that `text` (RFC 3339) names, in nanoseconds since the epoch.

    A text without an offset is local time of `zone` (IANA). Raises Unreadable, also for one without
    both, and beyond the years 1678 to 2261, which nanoseconds in a bigint cannot tell.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise Unreadable(f"{field}: expected a date and time such as 2025-11-03T13:02:10.412Z")
    minute, second, fraction, offset = match.groups()
    if offset is None and zone is None:
        raise Unreadable(f"{field}: has no offset from UTC")
    seconds = int(second)
    try:
        began = _minute(minute, offset, None if offset else zone)
    except (ValueError, OverflowError):
        raise Unreadable(f"{field}: no such date or time") from None
    if seconds >= _SECONDS_A_MINUTE:
        raise Unreadable(f"{field}: no such date or time")
    nanoseconds = (began + seconds) * _SECOND_NS
    if fraction is not None:
        nanoseconds += int(fraction.ljust(9, "0"))
    if not INSTANT_MIN_NS <= nanoseconds < INSTANT_MAX_NS:
        raise Unreadable(f"{field}: outside the years 1678 to 2261")
    return nanoseconds


@functools.lru_cache(maxsize=4096)
def _minute(text: str, offset: str | None, zone: str | None) -> int:
    """When the minute began, in seconds since the epoch.

    Remembered for a while: deliveries come in the order of their instants, nearly.
    """
    moment = dt.datetime.fromisoformat(text + (offset or ""))
    if offset is None:
        moment = moment.replace(tzinfo=zoneinfo.ZoneInfo(zone or ""))
    since = moment - _EPOCH
    return since.days * _SECONDS_A_DAY + since.seconds


def latest(*dates: tuple[str, str | None]) -> tuple[int, str] | None:
    """The latest of the dates that are there, given as (field, text): its instant and its text.

    Of equal instants the first one's text. Raises Unreadable for one that is none.
    """
    found: tuple[int, str] | None = None
    for field, text in dates:
        if text:
            at = instant(text, field)
            if found is None or at > found[0]:
                found = at, text
    return found
