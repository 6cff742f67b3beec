"""Decide whether a request comes from whom it claims: pure, constant-time.

In: what the request shows, the declared checks, the present time as a value. Out: null, or the check
that refuses it. All checks of a source must pass.

Secrets are compared as digests of equal length, against every live one, without an early exit: how
long it takes tells neither how much of a guess was right, nor its length's distance from a secret's,
nor which of several secrets is close.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from multidict import CIMultiDict, CIMultiDictProxy

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
from service.ingress.addresses import Address, contains

Headers = CIMultiDict[str] | CIMultiDictProxy[str]

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403

_BEARER: Final = re.compile(r"bearer[ \t]+", re.ASCII | re.IGNORECASE)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request shows before its body is read."""

    headers: Headers
    url_token: str | None
    """The URL's secret, from the path or the query; null where there is none, or several."""
    address: Address | None
    """The sender's, as trusted proxies report it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that does not get in."""

    check: str
    """The kind of the check that failed, for counting; the sender is not told."""
    status: int


_HeadCheck = tuple[str, int, Callable[[Claim], bool]]
_BodyCheck = tuple[str, int, Callable[[Claim, bytes, float], bool]]


class Gate:
    """The checks of one source, made ready once."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self.trust: str = "+".join(check.kind for check in checks) or "none"
        """What a request that passed has shown; stored with its delivery."""
        self.reads_address = any(isinstance(check, AddressCheck) for check in checks)
        self.reads_url = any(isinstance(check, UrlTokenCheck) for check in checks)
        self._of_head: tuple[_HeadCheck, ...] = tuple(
            _of_head(check) for check in checks if not isinstance(check, HmacCheck)
        )
        self._of_body: tuple[_BodyCheck, ...] = tuple(
            (check.kind, UNAUTHORIZED, _signature_matches(check))
            for check in checks
            if isinstance(check, HmacCheck)
        )

    def refusal_of_head(self, claim: Claim) -> Refusal | None:
        """The refusal by the checks that need no body, so that a stranger's is never read."""
        refusal = None
        for kind, status, passes in self._of_head:
            # All of them run whatever the first one says: how long it takes tells not which failed.
            if not passes(claim):
                refusal = refusal or Refusal(kind, status)
        return refusal

    def refusal_of_body(self, claim: Claim, body: bytes, *, now: float) -> Refusal | None:
        """The refusal by the checks of the body, exactly as it came; `now` in seconds since the epoch."""
        refusal = None
        for kind, status, passes in self._of_body:
            if not passes(claim, body, now):
                refusal = refusal or Refusal(kind, status)
        return refusal


def _of_head(check: Check) -> _HeadCheck:
    match check:
        case AddressCheck():
            return check.kind, FORBIDDEN, _address_is_allowed(check)
        case AuthorizationCheck():
            return check.kind, UNAUTHORIZED, _authorization_matches(check)
        case BasicCheck():
            return check.kind, UNAUTHORIZED, _basic_matches(check)
        case HeaderCheck():
            return check.kind, UNAUTHORIZED, _header_matches(check)
        case UrlTokenCheck():
            return check.kind, UNAUTHORIZED, _url_token_matches(check)
        case HmacCheck():
            raise AssertionError("an HMAC needs the body")


def _authorization_matches(check: AuthorizationCheck) -> Callable[[Claim], bool]:
    known = [_digest(_without_bearer(secret.decode()).encode()) for secret in check.secrets]

    def matches(claim: Claim) -> bool:
        value = _only(claim.headers, "Authorization")
        return value is not None and _is_any(_digest(_bytes_of(_without_bearer(value))), known)

    return matches


def _without_bearer(value: str) -> str:
    scheme = _BEARER.match(value)
    return value[scheme.end() :] if scheme else value


def _url_token_matches(check: UrlTokenCheck) -> Callable[[Claim], bool]:
    known = [_digest(secret) for secret in check.secrets]

    def matches(claim: Claim) -> bool:
        return claim.url_token is not None and _is_any(_digest(_bytes_of(claim.url_token)), known)

    return matches


def _header_matches(check: HeaderCheck) -> Callable[[Claim], bool]:
    known = [_digest(secret) for secret in check.secrets]

    def matches(claim: Claim) -> bool:
        value = _only(claim.headers, check.header)
        return value is not None and _is_any(_digest(_bytes_of(value)), known)

    return matches


def _basic_matches(check: BasicCheck) -> Callable[[Claim], bool]:
    known = [_digest(check.username.encode() + b":" + secret) for secret in check.secrets]

    def matches(claim: Claim) -> bool:
        scheme, _, encoded = (_only(claim.headers, "Authorization") or "").partition(" ")
        credentials = _decoded(encoded.strip(), "base64") if scheme.lower() == "basic" else None
        return credentials is not None and _is_any(_digest(credentials), known)

    return matches


def _address_is_allowed(check: AddressCheck) -> Callable[[Claim], bool]:
    def matches(claim: Claim) -> bool:
        return claim.address is not None and contains(check.allow, claim.address)

    return matches


def _signature_matches(check: HmacCheck) -> Callable[[Claim, bytes, float], bool]:
    def matches(claim: Claim, body: bytes, now: float) -> bool:
        value = _only(claim.headers, check.header)
        timestamp = "" if check.timestamp_header is None else _only(claim.headers, check.timestamp_header)
        if value is None or timestamp is None:
            return False
        if check.timestamp_header is not None and not _is_within(timestamp, check.window_s, now):
            return False
        signature = _decoded(value.removeprefix(check.prefix), check.encoding)
        if signature is None:
            return False
        signed = timestamp.encode() + b"." + body if check.signed == "timestamp.body" else body
        return _is_any(signature, [hmac.digest(secret, signed, check.algorithm) for secret in check.secrets])

    return matches


def _is_any(candidate: bytes, known: Sequence[bytes]) -> bool:
    found = False
    for digest in known:
        # The comparison stands first: `or` must not skip it once another has matched.
        found = hmac.compare_digest(candidate, digest) or found
    return found


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()


def _only(headers: Headers, name: str) -> str | None:
    # A header that comes twice is ambiguous: a proxy may have checked the other one.
    values = headers.getall(name, ())
    return values[0].strip() if len(values) == 1 else None


def _bytes_of(text: str) -> bytes:
    # Never raises, and no undecodable byte can become equal to a secret, which is valid UTF-8.
    return text.encode("utf-8", "surrogatepass")


def _is_within(timestamp: str, window_s: int, now: float) -> bool:
    return _TIMESTAMP.fullmatch(timestamp) is not None and abs(now - int(timestamp)) <= window_s


def _decoded(text: str, encoding: Encoding) -> bytes | None:
    """The bytes that `text` stands for; null where it is not of that encoding."""
    try:
        match encoding:
            case "hex":
                return binascii.unhexlify(text)
            case "base64":
                return base64.b64decode(text, validate=True)
            case "base64url":
                return base64.b64decode(_padded(text), altchars=b"-_", validate=True)
    except ValueError:
        return None


def _padded(text: str) -> str:
    return text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
