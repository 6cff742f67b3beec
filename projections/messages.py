"""The data of every domain event, member by member. docs/schemas is generated from here.

Instants are RFC 3339 texts in UTC with nine digits of a second. Amounts are integer minor units of
`currency` (cents), null where unknown.
"""

from typing import Literal

import msgspec

from projections.facts import Payer
from projections.states import (
    CartStatus,
    DisputeStatus,
    FlagName,
    OrderStatus,
    Payment,
    SubscriptionStatus,
    WithdrawalStatus,
)


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery that brought the fact: its receipt is `<log>-<position>`.

    An amendment by a swap has none: there it is how far the root's deliveries were folded.
    """

    log: str
    """Name of the log."""
    position: int
    """Where the delivery is in it."""


class DatedFlag(msgspec.Struct, frozen=True):
    """Something unusual that a human should look at."""

    name: FlagName
    """Which; docs/providers/README.md, section 2, says what each tells."""
    occurred_at: str
    """When the fact that raised it occurred."""


class OrderData(msgspec.Struct, frozen=True, kw_only=True):
    """An order, as it is after the change."""

    root: str
    """The order's id everywhere, `<account>:order:<order_id>`."""
    account: str
    """Whose order it is."""
    order_id: str
    """The provider's id."""
    provider: str
    """Who told of it last; `operator` while nothing but decisions is known."""
    version: str
    """Grows with each fact, also as text; the newest wins."""
    previous_status: OrderStatus | None
    """The status before; null at the first event."""
    status: OrderStatus
    """The status now."""
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
    flags: tuple[DatedFlag, ...]
    """All of the order's flags, by instant, then name."""
    occurred_at: str
    """When the fact that caused the event occurred."""
    recorded_at: str
    """When its delivery was appended to the log; of an amendment by a swap, when that was."""
    cause: Cause
    """The delivery that caused the event."""


class DisputeData(msgspec.Struct, frozen=True, kw_only=True):
    """A contest of an order, as it is after the change."""

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
    version: str
    """The root's: grows with each fact, also as text; the newest wins."""
    previous_status: DisputeStatus | None
    """The status before; null at the first event."""
    status: DisputeStatus
    """The status now; `charged_back` is not yet `lost`, which only an operator can say."""
    reason: Literal["refunded"] | None
    """Why it is closed: the money was given back."""
    opened_at: str
    """When the first contested snapshot occurred."""
    ended_at: str | None
    """When the first other snapshot of the subject occurred; null while there is none."""
    decided_at: str | None
    """When the operator decided; null without a decision."""
    occurred_at: str
    """When the fact that caused the event occurred."""
    recorded_at: str
    """When its delivery was appended to the log; of an amendment by a swap, when that was."""
    cause: Cause
    """The delivery that caused the event."""


class SubscriptionData(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription, as it is after the change."""

    root: str
    """The subscription's id everywhere, `<account>:subscription:<subscription_id>`."""
    account: str
    """Whose subscription it is."""
    subscription_id: str
    """The provider's id."""
    provider: str
    """Who told of it last."""
    version: str
    """Grows with each fact, also as text; the newest wins."""
    previous_status: SubscriptionStatus | None
    """The status before; null at the first event."""
    status: SubscriptionStatus
    """The status now."""
    provider_status: str
    """The provider's last word, as sent."""
    reference: str | None
    """The merchant's own id of the subscription."""
    payer: Payer | None
    """Keyed hashes of who pays."""
    flags: tuple[DatedFlag, ...]
    """All of the subscription's flags, by instant, then name."""
    occurred_at: str
    """When the fact that caused the event occurred."""
    recorded_at: str
    """When its delivery was appended to the log; of an amendment by a swap, when that was."""
    cause: Cause
    """The delivery that caused the event."""


class WithdrawalData(msgspec.Struct, frozen=True, kw_only=True):
    """A withdrawal, as it is after the change."""

    root: str
    """The withdrawal's id everywhere, `<account>:withdrawal:<withdrawal_id>`."""
    account: str
    """Whose withdrawal it is."""
    withdrawal_id: str
    """The provider's id."""
    provider: str
    """Who told of it last."""
    version: str
    """Grows with each fact, also as text; the newest wins."""
    previous_status: WithdrawalStatus | None
    """The status before; null at the first event."""
    status: WithdrawalStatus
    """The status now; `approved` is accepted, not proof that the bank settled it."""
    provider_status: str
    """The provider's last word, as sent."""
    amount_cents: int | None
    """What is to be paid out."""
    currency: str
    """ISO 4217."""
    reference: str | None
    """The merchant's own id of the withdrawal."""
    flags: tuple[DatedFlag, ...]
    """All of the withdrawal's flags, by instant, then name."""
    occurred_at: str
    """When the fact that caused the event occurred."""
    recorded_at: str
    """When its delivery was appended to the log; of an amendment by a swap, when that was."""
    cause: Cause
    """The delivery that caused the event."""


class CartData(msgspec.Struct, frozen=True, kw_only=True):
    """A cart, as it is after the change."""

    root: str
    """The cart's id everywhere, `<account>:cart:<cart_id>`."""
    account: str
    """Whose cart it is."""
    cart_id: str
    """The provider's id, or a hash that stands for it."""
    provider: str
    """Who told of it last."""
    version: str
    """Grows with each fact, also as text; the newest wins."""
    previous_status: CartStatus | None
    """The status before; null at the first event."""
    status: CartStatus
    """The status now."""
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
    abandoned_at: str
    """When the first fact of it occurred."""
    flags: tuple[DatedFlag, ...]
    """Always empty so far."""
    occurred_at: str
    """When the fact that caused the event occurred."""
    recorded_at: str
    """When its delivery was appended to the log; of an amendment by a swap, when that was."""
    cause: Cause
    """The delivery that caused the event."""


class QuarantinedData(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that the code cannot interpret yet. It is in the log, whole."""

    receipt: str
    """Its name, `<log>-<position>`."""
    source: str
    """The endpoint that it came to."""
    provider: str
    """Whose format it should be in."""
    root: str | None
    """What it is about, where that could be read."""
    reason: str
    """Which field could not be read, and what was expected there; never a value."""


class TooLargeData(msgspec.Struct, frozen=True, kw_only=True):
    """A small marker in the place of a record that Kafka refused for its size; the log has it whole."""

    position: int
    """Where the record is: in the event log, or for `webhooks.raw` in the log of deliveries."""
    id: str
    """The record's `ce_id`."""
    root: str
    """The record's root, or `?<position>` for a delivery without one."""
    bytes: int
    """The record's size: key, value and headers."""
    detail: str
    """Where to read the record, in words."""
