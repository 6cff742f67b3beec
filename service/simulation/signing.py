"""Authenticate a delivery as a source's declared checks demand: pure, the present time is a value.

In: a source as `recibo.toml` declares it, the exact body. Out: the query and the headers to send.
An address cannot be shown, so a source that checks it needs a sender at that address.
"""

import base64
import binascii
import dataclasses
import hmac
from collections.abc import Callable
from typing import Final, NamedTuple

from service.checks import (
    AddressCheck,
    AuthorizationCheck,
    BasicCheck,
    Check,
    Encoding,
    HeaderCheck,
    HmacCheck,
    UrlTokenCheck,
)
from service.declarations import Secret
from service.settings import Source

FORGED: Final = Secret(b"not-one-of-its-secrets")
"""What a forger shows."""


class Signature(NamedTuple):
    """What a request carries besides its body."""

    query: dict[str, str]
    headers: dict[str, str]


def sign(source: Source, body: bytes, *, now: float) -> Signature:
    """What passes every check of `source`, with the first of its live secrets; `now` in seconds."""
    signature = Signature({}, {})
    for check in source.checks:
        _show(check, body, now, signature)
    return signature


def forge(source: Source) -> Source | None:
    """`source` with other secrets than its own; null where it asks for none."""
    if not any(hasattr(check, "secrets") for check in source.checks):
        return None
    return dataclasses.replace(source, checks=tuple(map(_forged, source.checks)))


def _show(check: Check, body: bytes, now: float, signature: Signature) -> None:
    match check:
        case UrlTokenCheck():
            signature.query["token"] = check.secrets[0].decode()
        case AuthorizationCheck():
            signature.headers["Authorization"] = check.secrets[0].decode()
        case HeaderCheck():
            signature.headers[check.header] = check.secrets[0].decode()
        case BasicCheck():
            credentials = check.username.encode() + b":" + check.secrets[0]
            signature.headers["Authorization"] = f"Basic {base64.b64encode(credentials).decode()}"
        case HmacCheck():
            signature.headers.update(_hmac_headers(check, body, now))
        case AddressCheck():
            pass


def _hmac_headers(check: HmacCheck, body: bytes, now: float) -> dict[str, str]:
    headers, signed = {}, body
    if check.timestamp_header is not None:
        timestamp = str(int(now))
        headers[check.timestamp_header] = timestamp
        if check.signed == "timestamp.body":
            signed = timestamp.encode() + b"." + body
    digest = hmac.digest(check.secrets[0], signed, check.algorithm)
    headers[check.header] = check.prefix + _ENCODERS[check.encoding](digest).decode()
    return headers


_ENCODERS: Final[dict[Encoding, Callable[[bytes], bytes]]] = {
    "hex": binascii.hexlify,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
}


def _forged(check: Check) -> Check:
    return check if isinstance(check, AddressCheck) else dataclasses.replace(check, secrets=(FORGED,))
