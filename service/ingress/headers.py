"""The headers of a delivery as the log keeps them: every name, values only of an allow-list. Pure."""

from collections.abc import Iterable
from typing import Final

import orjson

WITHHELD: Final = "[withheld]"
"""Stands for a value that is not stored."""

_UNDECODABLE: Final = range(0xDC80, 0xDD00)
"""Bytes that were not UTF-8, as aiohttp hands them on (surrogateescape)."""
_LATIN: Final = range(0x100)


def stored_headers(headers: Iterable[tuple[str, str]], kept: frozenset[str]) -> str:
    """A JSON object of names, lower case, and values; the values of a repeated header joined by `, `.

    Unprintable and undecodable characters are escaped as in a Python literal, and so is the backslash:
    Postgres refuses a NUL in text.
    """
    stored: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        if key not in kept:
            stored[key] = WITHHELD
        elif key in stored:
            stored[key] += f", {_escaped(value)}"
        else:
            stored[key] = _escaped(value)
    return orjson.dumps(stored).decode()


def _escaped(value: str) -> str:
    if value.isprintable() and "\\" not in value:
        return value
    return "".join(_escaped_character(character) for character in value)


def _escaped_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    if code in _UNDECODABLE:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code in _LATIN else f"\\u{code:04x}"
