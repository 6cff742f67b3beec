"""The JSON object that a delivery carries, as a typed payload, and what identifies it.

In: exact bytes. Out: the parsed object, a provider's struct of it, the identity of what it says. What
cannot be read raises Unreadable, which names the field and never quotes a value.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec
import orjson

from projections.facts import IDENTITY_SEPARATOR, INTEGER_MAX, Unreadable

Document = dict[str, Any]
"""A parsed JSON object."""

ESCAPE: Final = ord("\\")
"""The byte that begins an escaped character in JSON. Few bodies hold one, and it is found in no time.

A number, for `b"\\" in body` raises a TypeError inside and drops it, at ten times the cost.
"""

NOT_UTF8: Final = "body: not UTF-8"
NOT_JSON: Final = "body: not JSON"
NOT_AN_OBJECT: Final = "body: not a JSON object"
TOO_DEEP: Final = "body: nested too deeply"

_MISSING: Final = re.compile(r"Object missing required field `([^`]*)`(?: - at `\$\.?(.*)`)?")
_EXPECTED: Final = re.compile(r"(.*) - at `\$\.?(.*)`")
_PLACE_LENGTH_ENOUGH: Final = 200
_NUL_ESCAPED: Final = rb"\u0000"

_sha256: Final = hashlib.sha256()
"""To be copied: `hashlib.sha256` looks the algorithm up in OpenSSL each time, an eighth of the cost."""

_Payload = TypeVar("_Payload", bound=msgspec.Struct)


def parsed(body: bytes) -> Document:
    """The JSON object in `body`. Raises Unreadable for anything else."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unreadable(NOT_JSON if _is_utf8(body) else NOT_UTF8) from None
    if not isinstance(document, dict):
        raise Unreadable(NOT_AN_OBJECT)
    return document


def parsed_each(bodies: Iterable[bytes]) -> list[Document | None]:
    """The JSON objects in `bodies`; null for anything else, of which `parsed` says why."""
    documents: list[Document | None] = []
    for body in bodies:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        documents.append(document if isinstance(document, dict) else None)
    return documents


def refuse_nul(document: Document, body: bytes, names: frozenset[str]) -> None:
    """Raise Unreadable if a text of the object in `body` holds a NUL, which Postgres takes nowhere.

    Of members' names only those in `names` are quoted: others may be anything.
    """
    # JSON can only hold one escaped, so nearly every body is done with one search.
    if _NUL_ESCAPED in body:
        for place, text in _texts(document, names):
            if "\0" in text:
                raise Unreadable(f"{place}: holds a NUL")


def payload(document: object, of: type[_Payload]) -> _Payload:
    """`document` as the provider's struct. Raises Unreadable where a member is of another type.

    What JSON holds has no cycles, so these structs are no business of the garbage collector's (`gc=False`).
    """
    try:
        return msgspec.convert(document, of)
    except msgspec.ValidationError as error:
        raise Unreadable(_reason(str(error))) from None


def identity(document: Document, *key: str) -> str:
    """The members of `key` and the digest of the whole object, joined by `|`.

    Deliveries with equal identities say the same; two contents under one key are two facts.
    """
    try:
        canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        raise Unreadable(TOO_DEEP) from None
    digest = _sha256.copy()
    digest.update(canonical)
    return IDENTITY_SEPARATOR.join((*key, digest.hexdigest()))


def first_text(document: Document, *names: str) -> str | None:
    """The first of the members `names` that is a text and not empty."""
    for name in names:
        value = document.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def word_of(status: str) -> str:
    """A provider's word as the tables have it: trimmed, in upper case."""
    return status.strip().upper()


def status_in(statuses: Mapping[str, str], said: str, field: str) -> str:
    """The canonical word for what the provider `said` in `field`. Raises Unreadable for what no table has."""
    status = statuses.get(said) or statuses.get(word_of(said))
    if status is None:
        raise unknown_word(field, word_of(said))
    return status


def unknown_word(field: str, word: str) -> Unreadable:
    """For a word that no table has. One that speaks of a dispute is money: it is listed first."""
    if "DISPUTE" in word or "CHARGEBACK" in word:
        return Unreadable(f"dispute: {field} is not a word that we know")
    return Unreadable(f"{field}: not a word that we know")


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _texts(document: Document, names: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Every text in `document` with its place, members' names included."""
    rest: list[tuple[str, object]] = [("", document)]
    while rest:
        place, value = rest.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            for name, member in value.items():
                yield place or "body", name
                known = name if name in names else "a member"
                rest.append((_inside(place, f".{known}" if place else known), member))
        elif isinstance(value, list):
            rest += [(_inside(place, f"[{index}]"), member) for index, member in enumerate(value)]


def _inside(place: str, step: str) -> str:
    # A reason is a line in a table: of what is nested deeper, it names the beginning.
    return place if len(place) > _PLACE_LENGTH_ENOUGH else place + step


def _reason(message: str) -> str:
    """`amount: expected int, got str`, of msgspec's own words; they hold no value."""
    if missing := _MISSING.fullmatch(message):
        name, place = missing.groups()
        return f"{place}.{name}: missing" if place else f"{name}: missing"
    if expected := _EXPECTED.fullmatch(message):
        what, place = expected.groups()
        what = what.replace(str(INTEGER_MAX), "9223372036854775807, the largest bigint")
        return f"{place}: {what[0].lower()}{what[1:].replace('`', '')}"
    return f"body: {message[0].lower()}{message[1:].replace('`', '')}"
