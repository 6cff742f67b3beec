"""A subscription, from the timeline of its root (docs/providers/README.md, section 2)."""

from typing import Final

from projections.content import Content
from projections.states import Began, Flag, SubscriptionState, SubscriptionStatus, begin, in_order
from projections.timeline import Timeline

_STATUSES: Final[dict[str | None, SubscriptionStatus]] = {
    "pending": "pending",
    "active": "active",
    "past_due": "past_due",
    "inactive": "inactive",
}


def subscription_of(timeline: Timeline) -> SubscriptionState:
    """The subscription that `timeline`, which has at least one fact, is about."""
    status: SubscriptionStatus = "pending"
    flags: list[Flag] = []
    history: list[Began] = []
    for fact in timeline.entries:
        before, status = status, _STATUSES[fact.status]
        if before == "inactive" != status:
            flags.append(Flag("reactivated", fact.occurred_at))
        begin(history, status, fact.occurred_at)
    account, _, subscription_id = timeline.root.split(":", 2)
    content = Content.of(timeline.entries)
    return SubscriptionState(
        root=timeline.root,
        account=account,
        subscription_id=subscription_id,
        provider=content.provider,
        status=status,
        provider_status=content.word,
        reference=content.reference,
        payer=content.payer,
        flags=in_order(flags),
        history=tuple(history),
        facts=len(timeline.entries),
    )
