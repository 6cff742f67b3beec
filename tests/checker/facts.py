"""What a row of the log is, and what one delivery says once it is read."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import orjson

from tests.checker.values import Object, Unreadable

Aggregate = Literal["order", "subscription", "withdrawal", "cart"]
Form = Literal["snapshot", "payment", "invoice", "decision"]
"""`payment` is Gen's payment, `invoice` Gen's order; all else from providers is a snapshot of the root."""

ALERT: Final = "alert"
_ROOT_LENGTH_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One delivery as the log holds it, as far as its meaning depends on it."""

    position: int
    source: str
    account: str
    provider: str
    root: str | None
    kind: str | None
    recorded_at: int
    """Nanoseconds since the epoch."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The settings that meaning depends on."""

    zone: ZoneInfo
    payer_key: bytes | None

    def payer(self, document: str | None, email: str | None, phone: str | None) -> dict[str, object]:
        """The payer's content; none at all without a key."""
        if self.payer_key is None:
            return {}
        normal = {
            "payer_document": "".join(filter(str.isalnum, document or "")).upper(),
            "payer_email": (email or "").strip().lower(),
            "payer_phone": "".join(filter(str.isdigit, phone or "")),
        }
        return {name: _keyed(self.payer_key, value) for name, value in normal.items() if value}


class When(NamedTuple):
    """An instant in nanoseconds, and whether the delivery itself names it; else it is recorded_at."""

    at: int
    dated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What one delivery says. Two that are equal in `identity` say the same."""

    root: str
    aggregate: Aggregate
    provider: str
    key: str
    """The provider's own, as an operator's decision names it."""
    digest: str
    when: When
    form: Form = "snapshot"
    subject: str = ""
    word: str | None = None
    """The status as sent."""
    status: str | None = None
    """What the word means by itself, before any history."""
    precedence: int = 0
    content: dict[str, object] = field(default_factory=dict)
    """The members that it carries, by the name of the state's column."""
    possible_win: bool = False
    answers: str = ""
    """Of a decision: the key of the contested fact."""

    @property
    def occurred_at(self) -> int:
        return self.when.at

    @property
    def identity(self) -> str:
        return f"{self.key}|{self.digest}"

    @property
    def order(self) -> tuple[int, int, int, str]:
        """Its place in the timeline."""
        refunded = self.content.get("refunded_cents")
        return self.occurred_at, self.precedence, refunded if isinstance(refunded, int) else 0, self.identity


def root(account: str, aggregate: str, identifier: str) -> str:
    """The root's name, if it can be one."""
    name = f"{account}:{aggregate}:{identifier}"
    if len(name) > _ROOT_LENGTH_MAX or not name.isprintable():
        raise Unreadable("root")
    return name


def parts(name: str) -> tuple[str, str, str]:
    """Account, aggregate and the provider's id of a root."""
    account, aggregate, identifier = name.split(":", 2)
    return account, aggregate, identifier


def digest(document: Object) -> str:
    """Of the whole parsed object, so that another content is another fact."""
    try:
        return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except orjson.JSONEncodeError:
        raise Unreadable("nesting") from None


def key(*members: object) -> str:
    """The provider's key: its members as sent, null as empty."""
    return "|".join("" if member is None else str(member) for member in members)


def latest(dates: Sequence[int | None], recorded_at: int) -> When:
    """When it happened: the latest date that is carried, else when the log took it."""
    known = [date for date in dates if date is not None]
    return When(max(known, default=recorded_at), bool(known))


def carried(**members: object) -> dict[str, object]:
    """Those members that are not null."""
    return {name: value for name, value in members.items() if value is not None}


def _keyed(secret: bytes, value: str) -> str:
    return hmac.new(secret, value.encode(), hashlib.sha256).hexdigest()[:32]
