"""The states that the fold derives from a root's timeline: what is true now.

A state is a value, and a function of the set of facts alone: equal sets give states that are equal
byte for byte in `msgspec.json.encode`. The members are named like the columns of the state tables
(migrations/0002_state.sql); their docstrings are also the descriptions in docs/schemas.

Amounts are integer minor units of `currency` (cents), null where unknown. Instants are integer
nanoseconds since the epoch, UTC. The words are those of docs/providers/README.md, section 2.
"""

from collections.abc import Collection
from typing import Final, Literal

import msgspec

from projections.facts import Payer

OrderStatus = Literal[
    "pending",
    "authorized",
    "partially_paid",
    "paid",
    "overdue",
    "expired",
    "rejected",
    "canceled",
    "disputed",
    "charged_back",
    "partially_refunded",
    "refunded",
]
DisputeStatus = Literal["alerted", "open", "charged_back", "won", "lost", "closed"]
SubscriptionStatus = Literal["pending", "active", "past_due", "inactive"]
WithdrawalStatus = Literal["pending", "approved", "rejected"]
CartStatus = Literal["abandoned"]

FlagName = Literal[
    "canceled_with_money",
    "canceled_after_settlement",
    "payment_notice_lost",
    "late_payment",
    "reopened",
    "refund_after_chargeback",
    "double_loss",
    "paid_after_refund",
    "possible_win",
    "decision_without_dispute",
    "paid_after_lost",
    "status_went_back",
    "reactivated",
    "decision_reversed",
]

DEFAULT_CURRENCY: Final = "BRL"
"""Of a root none of whose facts names one (docs/providers/README.md, section 2)."""


class Flag(msgspec.Struct, frozen=True, gc=False):
    """Something unusual that a human should look at."""

    name: FlagName
    """Which; the table in docs/providers/README.md, section 2, says what each tells."""
    occurred_at: int
    """When the fact that raised it occurred."""


class Began(msgspec.Struct, frozen=True, gc=False):
    """One entry of a history: a status and when it began."""

    status: str
    """The status."""
    began_at: int
    """When the fact that brought it occurred."""


class Payment(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One of the payments that an order's status is computed from (Gen)."""

    id: str
    """The provider's id of the payment."""
    status: OrderStatus
    """By the payment's own snapshots alone."""
    total_cents: int | None
    """With shipping, additions and discounts."""
    reference: str | None
    """The merchant's own id of the payment."""
    method: str | None
    """As the provider names it, in lower case."""


class OrderState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is true now of an order."""

    root: str
    """The order's id everywhere, `<account>:order:<order_id>`."""
    account: str
    """Whose order it is."""
    order_id: str
    """The provider's id."""
    provider: str
    """Who told of it last; `operator` while nothing but decisions is known."""
    status: OrderStatus
    """Where it stands; `authorized` is not money, and `partially_paid` is unpaid for release."""
    provider_status: str
    """The provider's last word, as sent; not to be trusted where the status is computed."""
    amount_cents: int | None
    """The order's total."""
    refunded_cents: int | None
    """What was given back so far."""
    paid_cents: int | None
    """Sum of the payments that are paid now; null where the provider tells of no single payments."""
    currency: str
    """ISO 4217."""
    reference: str | None
    """The merchant's own id of the order."""
    method: str | None
    """As the provider names it, in lower case; of several payments that which was told of last."""
    channel: str | None
    """`pos` for an order taken at a terminal."""
    payer: Payer | None
    """Keyed hashes of who pays."""
    products: tuple[str, ...] | None
    """The merchant's product codes."""
    payments: tuple[Payment, ...] | None
    """In the order in which they appeared; null where the provider tells of no single payments."""
    total_unknown: bool
    """Whether the status had to be computed without knowing the order's total or a payment's share."""
    flags: tuple[Flag, ...]
    """By instant, then name."""
    history: tuple[Began, ...]
    """The statuses so far; the last entry is the current one."""
    facts: int
    """How many distinct facts this derives from: the second half of the version."""


class DisputeState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is true now of one contest of an order."""

    root: str
    """The order's."""
    ordinal: int
    """From 1, by time of opening. It can shift when an earlier contest is learned late."""
    account: str
    """Whose order it is."""
    subject: str
    """What is contested: the provider's id of the order, for Gen of the payment."""
    provider: str
    """Who told of the contest."""
    status: DisputeStatus
    """Where it stands; `charged_back` is not yet `lost`, which only an operator can say."""
    reason: Literal["refunded"] | None
    """Why it is closed: the money was given back."""
    opened_at: int
    """When the first contested snapshot occurred."""
    ended_at: int | None
    """When the first other snapshot of the subject occurred; null while there is none."""
    decided_at: int | None
    """When the operator decided; null without a decision."""
    history: tuple[Began, ...]
    """The statuses so far; the last entry is the current one."""
    facts: int
    """How many distinct facts the root has: the second half of the version."""


class SubscriptionState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is true now of a subscription."""

    root: str
    """The subscription's id everywhere, `<account>:subscription:<subscription_id>`."""
    account: str
    """Whose subscription it is."""
    subscription_id: str
    """The provider's id."""
    provider: str
    """Who told of it last."""
    status: SubscriptionStatus
    """Where it stands."""
    provider_status: str
    """The provider's last word, as sent."""
    reference: str | None
    """The merchant's own id of the subscription."""
    payer: Payer | None
    """Keyed hashes of who pays."""
    flags: tuple[Flag, ...]
    """By instant, then name."""
    history: tuple[Began, ...]
    """The statuses so far; the last entry is the current one."""
    facts: int
    """How many distinct facts this derives from: the second half of the version."""


class WithdrawalState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is true now of a withdrawal."""

    root: str
    """The withdrawal's id everywhere, `<account>:withdrawal:<withdrawal_id>`."""
    account: str
    """Whose withdrawal it is."""
    withdrawal_id: str
    """The provider's id."""
    provider: str
    """Who told of it last."""
    status: WithdrawalStatus
    """Where it stands; `approved` is accepted, not proof that the bank settled it."""
    provider_status: str
    """The provider's last word, as sent."""
    amount_cents: int | None
    """What is to be paid out."""
    currency: str
    """ISO 4217."""
    reference: str | None
    """The merchant's own id of the withdrawal."""
    flags: tuple[Flag, ...]
    """By instant, then name."""
    history: tuple[Began, ...]
    """The statuses so far; the last entry is the current one."""
    facts: int
    """How many distinct facts this derives from: the second half of the version."""


class CartState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is true now of a cart. Whether it was recovered joins two roots: the view `cart_recovery`."""

    root: str
    """The cart's id everywhere, `<account>:cart:<cart_id>`."""
    account: str
    """Whose cart it is."""
    cart_id: str
    """The provider's id, or a hash that stands for it."""
    provider: str
    """Who told of it last."""
    status: CartStatus
    """No provider tells more of a cart."""
    amount_cents: int | None
    """What the cart would have cost."""
    currency: str
    """ISO 4217."""
    payer: Payer | None
    """Keyed hashes of who would have paid."""
    products: tuple[str, ...] | None
    """The merchant's product codes."""
    recovery_url: str | None
    """Where the buyer can resume, without query and fragment."""
    abandoned_at: int
    """When the first fact of it occurred."""
    flags: tuple[Flag, ...]
    """Always empty so far."""
    history: tuple[Began, ...]
    """The statuses so far; the last entry is the current one."""
    facts: int
    """How many distinct facts this derives from: the second half of the version."""


State = OrderState | DisputeState | SubscriptionState | WithdrawalState | CartState


class States(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Everything that one root says: its own aggregate and, of an order, its disputes by ordinal."""

    order: OrderState | None = None
    disputes: tuple[DisputeState, ...] = ()
    subscription: SubscriptionState | None = None
    withdrawal: WithdrawalState | None = None
    cart: CartState | None = None


def begin(history: list[Began], status: str, at: int) -> None:
    """Append `status` to `history`, unless it already is the last one there."""
    if not history or history[-1].status != status:
        history.append(Began(status, at))


def in_order(flags: Collection[Flag]) -> tuple[Flag, ...]:
    """`flags` as states carry them: distinct, by instant, then name."""
    return tuple(sorted(set(flags), key=_by_instant_and_name)) if flags else ()


def _by_instant_and_name(flag: Flag) -> tuple[int, str]:
    return flag.occurred_at, flag.name
