"""Members of a JSON object, each as the type that it must have; anything else is Unreadable.

Null and absent are the same to all of these, except where a list is due.
"""

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, TypeAlias

Object: TypeAlias = Mapping[str, object]

_BIGINT: Final = range(-(2**63), 2**63)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND_NS: Final = 10**9
_YEARS: Final = range(1678, 2262)
_INSTANT: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:(Z)|([+-])(\d\d):(\d\d))?", re.ASCII
)
_DIGITS_OF_A_DOUBLE: Final = 15


class Unreadable(Exception):
    """The delivery cannot be interpreted."""


def text(document: Object, name: str) -> str | None:
    """A string, as sent; an empty one says nothing, so it is absent."""
    value = document.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or "\0" in value:
        raise Unreadable(name)
    return value or None


def needed(document: Object, name: str) -> str:
    """A string without which the delivery means nothing."""
    value = text(document, name)
    if value is None:
        raise Unreadable(name)
    return value


def integer(document: Object, name: str) -> int | None:
    """A JSON integer that fits a bigint: cents, or a quantity."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unreadable(name)
    return bigint(value, name)


def reais(document: Object, name: str) -> int | None:
    """Cents, of a JSON number in reais with at most two decimals."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(name)
    # The shortest text of a double is what was sent, as long as it has no more digits than one holds.
    exact = Decimal(repr(value))
    if isinstance(value, float) and len(exact.normalize().as_tuple().digits) > _DIGITS_OF_A_DOUBLE:
        raise Unreadable(name)
    cents = exact * 100
    if cents != int(cents):
        raise Unreadable(name)
    return bigint(int(cents), name)


def bigint(value: int, name: str) -> int:
    """`value`, if Postgres can hold it."""
    if value not in _BIGINT:
        raise Unreadable(name)
    return value


def instant(document: Object, name: str, zone: dt.tzinfo = dt.UTC) -> int | None:
    """Nanoseconds since the epoch; `zone` holds where the text names no offset."""
    value = document.get(name)
    if value is None:
        return None
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Unreadable(name)
    fraction = int((found[7] or "").ljust(9, "0"))
    try:
        at = dt.datetime(*(int(found[part]) for part in range(1, 7)), tzinfo=_zone(found, zone))  # type: ignore[arg-type, misc]
        since = at - _EPOCH
    except (ValueError, OverflowError):
        raise Unreadable(name) from None
    if (_EPOCH + since).year not in _YEARS:
        raise Unreadable(name)
    return (since.days * 86_400 + since.seconds) * _SECOND_NS + fraction


def _zone(found: re.Match[str], zone: dt.tzinfo) -> dt.tzinfo:
    if found[8]:
        return dt.UTC
    if found[9]:
        offset = dt.timedelta(hours=int(found[10]), minutes=int(found[11]))
        return dt.timezone(-offset if found[9] == "-" else offset)
    return zone


def child(document: Object, name: str) -> Object:
    """An object; empty where there is none."""
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(name)
    return value


def children(document: Object, name: str, *, nullable: bool = False) -> list[Object] | None:
    """A list of objects; null where it is absent, and where null is sent and may be."""
    if name not in document:
        return None
    value = document[name]
    if value is None and nullable:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Unreadable(name)
    return value
