"""The canonical facts: what a provider's delivery says, in words that all providers share.

A fact is a value. Two deliveries that say the same give equal facts with equal identities, whatever
their bytes, position or hour of arrival; only an undated fact takes its instant from the log
(`recorded_at`, the earliest of its repeats), and that is no part of its identity.

The vocabulary is that of `docs/providers/README.md`, section 2.
"""

from typing import Final, Literal

import msgspec

Aggregate = Literal["order", "subscription", "withdrawal", "cart"]
"""What a root is about; the middle member of its name."""

OrderWord = Literal[
    "pending",
    "authorized",
    "overdue",
    "partially_paid",
    "rejected",
    "expired",
    "paid",
    "canceled",
    "partially_refunded",
    "alert",
    "disputed",
    "refunded",
    "reversed",
    "charged_back",
]
"""What one snapshot says of an order or a payment, before any history.

Three words become a status only by what came before: `canceled` (after money moved it means
refunded), `reversed` (after a mere authorisation it means canceled, else refunded) and `alert` (the
status stays as it is).
"""

PRECEDENCE: Final[dict[str, dict[str, int]]] = {
    "order": {
        "pending": 0,
        "authorized": 10,
        "overdue": 15,
        "partially_paid": 20,
        "rejected": 25,
        "expired": 27,
        "paid": 40,
        "canceled": 45,
        "partially_refunded": 50,
        "alert": 55,
        "disputed": 60,
        "refunded": 70,
        "reversed": 70,
        "charged_back": 80,
    },
    "withdrawal": {"pending": 0, "approved": 40, "rejected": 45},
    "subscription": {"pending": 0, "active": 40, "past_due": 45, "inactive": 70},
    "cart": {"abandoned": 0},
}
"""Which of two facts at one instant comes first: the lower (docs/providers/README.md, The fold, 1)."""

PRECEDENCE_WITHOUT_STATUS: Final = -1
"""Of facts that carry no order status (Gen ORDER.*) and of an operator's decisions."""

PRECEDENCE_BOLEPIX_CANCELED: Final = 26
"""There the payment wins over a cancellation at the same instant."""

IDENTITY_SEPARATOR: Final = "|"

ROOT_LENGTH_MAX: Final = 200
"""Characters. An id that makes a longer root, or an unprintable one, is no root."""

INTEGER_MAX: Final = 2**63 - 1
"""Postgres's bigint: amounts beyond it are Unreadable."""

INSTANT_MIN_NS: Final = -9_214_560_000_000_000_000
"""1678-01-01T00:00:00Z, as nanoseconds since the epoch."""

INSTANT_MAX_NS: Final = 9_214_646_400_000_000_000
"""2262-01-01T00:00:00Z, exclusive."""


class Unreadable(Exception):
    """A delivery that the code cannot interpret yet.

    `reason` names the field and what was expected there, never a value that could be personal. It
    is kept beside the delivery, and the delivery is read again once the code knows more.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that meaning depends on, and the limits of a root.

    A change of zone or key raises the fold version. A limit does not: it decides which roots are parked.
    """

    barte_zone: str = "America/Sao_Paulo"
    """IANA name of the zone that Barte's `dateTime`, which has no offset, is in."""
    payer_key: bytes | None = None
    """Key of the payer hashes; without it all of them are null."""
    facts_max: int = 5_000
    """Distinct facts of one root."""
    state_bytes_max: int = 900_000
    """Bytes of one state or event as JSON; with headers it is below Kafka's own default of 1,048,588."""


class Payer(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """Who pays, without a name: keyed hashes (HMAC-SHA256, first 128 bits, hex), null where absent."""

    document: str | None = None
    email: str | None = None
    phone: str | None = None


class Fact(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, forbid_unknown_fields=True
):
    """One statement about one root. A member more or less raises the fold version.

    Amounts are integer minor units of `currency` (cents), null where the provider sends none.
    """

    identity: str
    """The provider's key, `|`, and the hex sha256 of the whole parsed object."""
    root: str
    kind: Literal["order", "payment", "decision", "subscription", "withdrawal", "cart"]
    """`payment`: a snapshot of one of several payments of the root (Gen). `order`: a snapshot of
    the order itself. `decision`: an operator's word on a dispute of the order."""
    subject: str
    """The provider's id of what the snapshot is of: the order, the payment, …; a decision's is empty."""
    status: str | None
    """The canonical word: an `OrderWord` for order and payment, null for Gen's ORDER.* events; the
    status of the other aggregates; `lost` or `closed` for a decision."""
    word: str
    """The provider's word, as sent; empty where it sent none."""
    precedence: int
    occurred_at: int
    """Nanoseconds since the epoch, UTC."""
    occurred_text: str | None = None
    """The provider's own text of that instant; null means that the delivery carries no date at all,
    and `occurred_at` is the log's recorded_at."""
    provider: str

    # Content: of each member the last fact that carries it counts.
    amount_cents: int | None = None
    """Of an order, a payment, a withdrawal, a sale; of Gen's ORDER.* events the sum of the items."""
    refunded_cents: int | None = None
    refunded_unknown: bool = False
    """More was given back than is told: what was known of it before does not hold any more."""
    currency: str | None = None
    reference: str | None = None
    """The merchant's own id of the subject."""
    method: str | None = None
    """Lower case: `pix`, `credit`, `bank_slip`, … as the provider names it."""
    channel: str | None = None
    """`pos` for an order taken at a terminal."""
    payer: Payer | None = None
    products: tuple[str, ...] | None = None
    """The merchant's product codes, sorted, distinct."""
    subtotal_cents: int | None = None
    """A payment's share of the order's total (Gen): without shipping, additions and discounts."""
    recovery_url: str | None = None
    """Cart: where the buyer can resume, without query and fragment, which may name a person."""

    answers: str | None = None
    """Decision: the key of the contested fact that it answers."""
    flag: str | None = None
    """A flag that the fact raises by itself, whatever came before (`possible_win`)."""
    win_dated: bool = True
    """Whether a paid snapshot after a contest proves a win. Aprovei sends nothing that dates one."""

    @property
    def dated(self) -> bool:
        return self.occurred_text is not None

    @property
    def key(self) -> str:
        """The identity without its digest: what an operator's decision names."""
        return self.identity.rpartition(IDENTITY_SEPARATOR)[0]
