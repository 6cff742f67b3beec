"""How a source's senders are checked, as `recibo.toml` declares it.

In: the value of `checks`. Out: one frozen value per check, secrets resolved. What passes is decided in
service/ingress/verify.py, and by nothing else.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from service.declarations import DAY_S, Declaration, Network, Secret, Secrets

Encoding = Literal["hex", "base64", "base64url"]
Signed = Literal["body", "timestamp.body"]

WINDOW_DEFAULT_S: Final = 300

_IN_A_URL: Final = r"[A-Za-z0-9._~!$'()*,:;=@-]+"
_IN_A_URL_TAKES: Final = (
    "A-Z, a-z, 0-9 and -._~!$'()*,:;=@ alone, for a URL changes every other character on its way: choose "
    "another secret"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCheck:
    """The token in `Authorization`, with or without one `Bearer` (in any case) and blanks before it."""

    kind: ClassVar[str] = "authorization"
    secrets: tuple[Secret, ...]

    @property
    def places(self) -> frozenset[str]:
        return frozenset({"authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlTokenCheck:
    """A secret in the registered URL: `?token=`, or a segment after the source's name."""

    kind: ClassVar[str] = "url_token"
    secrets: tuple[Secret, ...]

    @property
    def places(self) -> frozenset[str]:
        # Not a header: the space keeps it apart from every header's name.
        return frozenset({"the URL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HmacCheck:
    """A keyed digest of the raw body in a header.

    With a timestamp header what is signed is `<timestamp>.<body>`, the header's text as it came,
    unless `signed` says `body`; the timestamp, whole seconds since the epoch, must be within
    `window_s` of now.
    """

    kind: ClassVar[str] = "hmac"
    header: str
    algorithm: str
    encoding: Encoding
    prefix: str
    """May stand before the digest, such as `sha256=`."""
    secrets: tuple[Secret, ...]
    timestamp_header: str | None
    window_s: int
    signed: Signed

    @property
    def places(self) -> frozenset[str]:
        return frozenset(
            {self.header} if self.timestamp_header is None else {self.header, self.timestamp_header}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderCheck:
    """A shared secret in a header of its own."""

    kind: ClassVar[str] = "header"
    header: str
    secrets: tuple[Secret, ...]

    @property
    def places(self) -> frozenset[str]:
        return frozenset({self.header})


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicCheck:
    """HTTP basic authentication; the secrets are passwords of one user."""

    kind: ClassVar[str] = "basic"
    username: str
    secrets: tuple[Secret, ...]

    @property
    def places(self) -> frozenset[str]:
        return frozenset({"authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressCheck:
    """The sender's address, as the ingress's trusted proxies report it."""

    kind: ClassVar[str] = "address"
    allow: tuple[Network, ...]

    @property
    def places(self) -> frozenset[str]:
        return frozenset({"x-forwarded-for"})


Check = AuthorizationCheck | UrlTokenCheck | HmacCheck | HeaderCheck | BasicCheck | AddressCheck


def read_checks(source: Declaration, secrets: Secrets) -> tuple[Check, ...]:
    """The checks of one source; faults are added to the source's."""
    declared = source.raw("checks")
    if declared == "none":
        return ()
    if not isinstance(declared, list) or not declared or not all(isinstance(one, dict) for one in declared):
        source.fault("checks", 'takes a list of tables, such as [{ kind = "url_token", … }], or "none"')
        return ()
    checks = []
    places: set[str] = set()
    for index, table in enumerate(declared):
        check = _read_check(Declaration(table, f"{source.place('checks')}[{index}]", source.faults), secrets)
        if check is not None:
            for place in sorted(check.places & places):
                source.fault(f"checks[{index}]", f"another check reads {place} too, so both can never pass")
            places |= check.places
            checks.append(check)
    return tuple(checks)


def _read_check(table: Declaration, secrets: Secrets) -> Check | None:
    kind = table.choice("kind", None, tuple(_READERS))
    if kind is None:
        return None
    check = _READERS[kind](table, secrets)
    table.refuse_unknown()
    return check


def _authorization(table: Declaration, secrets: Secrets) -> Check:
    return AuthorizationCheck(secrets=table.live_secrets(secrets))


def _url_token(table: Declaration, secrets: Secrets) -> Check:
    return UrlTokenCheck(secrets=table.live_secrets(secrets, _IN_A_URL, _IN_A_URL_TAKES))


def _hmac(table: Declaration, secrets: Secrets) -> Check | None:
    header = table.header("header", required=True)
    algorithm = table.choice("algorithm", "sha256", ("sha256", "sha512", "sha1"))
    encoding = table.choice("encoding", "hex", ("hex", "base64", "base64url"))
    prefix = table.text("prefix", "", r"[!-~]{0,32}", "at most 32 printable ASCII characters without blanks")
    live = table.live_secrets(secrets)
    timestamp_header = table.header("timestamp_header", required=False)
    timed = timestamp_header is not None
    window_s = table.integer("window_s", WINDOW_DEFAULT_S, at_most=DAY_S)
    signed = table.choice("signed", "timestamp.body" if timed else "body", ("body", "timestamp.body"))
    if not timed and table.raw("window_s") is not None:
        table.fault("window_s", "needs timestamp_header")
    if not timed and signed == "timestamp.body":
        table.fault("signed", "timestamp.body needs timestamp_header")
    if header is None or algorithm is None or encoding is None or signed is None:
        return None
    assert algorithm in hashlib.algorithms_guaranteed
    return HmacCheck(
        header=header,
        algorithm=algorithm,
        encoding=_ENCODINGS[encoding],
        prefix=prefix,
        secrets=live,
        timestamp_header=timestamp_header,
        window_s=window_s,
        signed=_SIGNED[signed],
    )


def _header(table: Declaration, secrets: Secrets) -> Check | None:
    header = table.header("header", required=True)
    live = table.live_secrets(secrets)
    return None if header is None else HeaderCheck(header=header, secrets=live)


def _basic(table: Declaration, secrets: Secrets) -> Check:
    username = table.text("username", "", r"[^:\x00-\x1f\x7f]{1,128}", "a user's name without a colon")
    if table.raw("username") is None:
        table.fault("username", "is missing")
    return BasicCheck(username=username, secrets=table.live_secrets(secrets))


def _address(table: Declaration, _secrets: Secrets) -> Check:
    return AddressCheck(allow=table.networks("allow", required=True))


_READERS: Final[Mapping[str, Callable[[Declaration, Secrets], Check | None]]] = {
    "authorization": _authorization,
    "url_token": _url_token,
    "hmac": _hmac,
    "header": _header,
    "basic": _basic,
    "address": _address,
}
_ENCODINGS: Final[Mapping[str, Encoding]] = {"hex": "hex", "base64": "base64", "base64url": "base64url"}
_SIGNED: Final[Mapping[str, Signed]] = {"body": "body", "timestamp.body": "timestamp.body"}
