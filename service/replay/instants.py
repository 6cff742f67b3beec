"""Instants as a person writes them: a day, a date and time, with or without an offset from UTC.

Without an offset it is the time of America/Sao_Paulo, where the payments are; a mere day means its end
there. Nothing is guessed beyond that.
"""

import datetime as dt
import re
import zoneinfo
from typing import Final

from projections.events import rfc3339
from projections.facts import Unreadable
from projections.providers.instants import instant
from service.errors import PermanentError

ZONE: Final = "America/Sao_Paulo"

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TO_THE_MINUTE: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})((?::\d{2}.*)?)", re.ASCII | re.DOTALL
)
_OFFSET: Final = re.compile(r"(Z|[+-]\d{2}:?\d{2})$", re.ASCII)


def parsed(text: str) -> int:
    """The instant that `text` names, nanoseconds since the epoch. Raises PermanentError."""
    try:
        return _end_of(text) if _DAY.fullmatch(text) else instant(_whole(text), "", zone=ZONE)
    except (Unreadable, ValueError, OverflowError):
        raise PermanentError(
            f"{text!r} is no instant: write 2025-11-03 (the end of that day in {ZONE}), 2025-11-03T13:02 "
            "(the time there) or 2025-11-03T16:02:10.412Z"
        ) from None


def check_not_future(instant: int, *, now: int) -> None:
    """Raise PermanentError for an `instant` after `now`; both are nanoseconds since the epoch."""
    if instant > now:
        raise PermanentError(
            f"{rfc3339(instant)} is in the future (it is {rfc3339(now)}): nothing is known of it"
        )


def check_in_log(instant: int, *, began_at: int) -> None:
    """Raise PermanentError for an `instant` before the log's first delivery."""
    if instant < began_at:
        raise PermanentError(
            f"{rfc3339(instant)} is before the log: its first delivery is of {rfc3339(began_at)}"
        )


def _end_of(day: str) -> int:
    next_day = dt.date.fromisoformat(day) + dt.timedelta(days=1)
    midnight = dt.datetime.combine(next_day, dt.time(), zoneinfo.ZoneInfo(ZONE)).astimezone(dt.UTC)
    return instant(midnight.isoformat(), "") - 1


def _whole(text: str) -> str:
    """`text` with its seconds, as the providers' dates have them."""
    offset = _OFFSET.search(text)
    bare = text[: offset.start()] if offset else text
    match = _TO_THE_MINUTE.fullmatch(bare)
    if match is None:
        return text
    day, minute, seconds = match.groups()
    return f"{day}T{minute}{seconds or ':00'}{offset.group() if offset else ''}"
