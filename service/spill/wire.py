"""A row of the log as a record of `webhooks.spill`, and back, every column exactly. Pure.

The body is the record's value, untouched; the other columns are its headers, one each, a null column
none. Text that Postgres will refuse, NULs and lone surrogates included, travels as it is: to refuse a
datum is the log's business.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from service.errors import InvariantError
from service.eventlog.deliveries import NewDelivery

Headers = list[tuple[str, bytes]]

_FORMAT: Final = ("format", b"1")
_TEXTS: Final = ("source", "account", "provider", "root", "kind", "trust", "remote_ip", "headers")


def encode(row: NewDelivery, *, log: str) -> Headers:
    """The headers of the record that carries `row` of `log` beside its body."""
    headers = [_FORMAT, ("log", log.encode()), ("received_at", row.received_at.isoformat().encode())]
    for name in _TEXTS:
        text: str | None = getattr(row, name)
        if text is not None:
            headers.append((name, text.encode("utf-8", "surrogatepass")))
    headers.append(("body_sha256", row.body_sha256))
    return headers


def log_of(headers: Sequence[tuple[str, bytes]]) -> str | None:
    """The log that a record belongs to; null if it is not one of ours."""
    name = dict(headers).get("log")
    return None if name is None else name.decode()


def decode(headers: Sequence[tuple[str, bytes]], body: bytes) -> NewDelivery:
    """The row that a record carries.

    Raises InvariantError if it is not of this format: another release, or somebody else, wrote it.
    """
    columns = dict(headers)
    if columns.get(_FORMAT[0]) != _FORMAT[1]:
        raise InvariantError("a record of the spill has another format than this release writes")
    try:
        return NewDelivery(
            source=_text(columns, "source"),
            account=_text(columns, "account"),
            provider=_text(columns, "provider"),
            root=_text_or_null(columns, "root"),
            kind=_text_or_null(columns, "kind"),
            received_at=dt.datetime.fromisoformat(columns["received_at"].decode()),
            trust=_text(columns, "trust"),
            remote_ip=_text_or_null(columns, "remote_ip"),
            headers=_text(columns, "headers"),
            body=body,
            body_sha256=columns["body_sha256"],
        )
    except (KeyError, ValueError) as error:
        raise InvariantError(f"a record of the spill lacks a column ({type(error).__name__})") from None


def _text(columns: Mapping[str, bytes], name: str) -> str:
    return columns[name].decode("utf-8", "surrogatepass")


def _text_or_null(columns: Mapping[str, bytes], name: str) -> str | None:
    return _text(columns, name) if name in columns else None
