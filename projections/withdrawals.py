"""A withdrawal, from the timeline of its root (docs/providers/README.md, section 2)."""

from typing import Final

from projections.content import Content
from projections.states import Began, Flag, WithdrawalState, WithdrawalStatus, begin, in_order
from projections.timeline import Timeline

_STATUSES: Final[dict[str | None, WithdrawalStatus]] = {
    "pending": "pending",
    "approved": "approved",
    "rejected": "rejected",
}


def withdrawal_of(timeline: Timeline) -> WithdrawalState:
    """The withdrawal that `timeline`, which has at least one fact, is about."""
    status: WithdrawalStatus = "pending"
    decided: WithdrawalStatus | None = None
    flags: list[Flag] = []
    history: list[Began] = []
    for fact in timeline.entries:
        status = _STATUSES[fact.status]
        if status != "pending":
            # Also with a `pending` in between: the bank bounced what had been accepted.
            if decided not in (None, status):
                flags.append(Flag("decision_reversed", fact.occurred_at))
            decided = status
        begin(history, status, fact.occurred_at)
    account, _, withdrawal_id = timeline.root.split(":", 2)
    content = Content.of(timeline.entries)
    return WithdrawalState(
        root=timeline.root,
        account=account,
        withdrawal_id=withdrawal_id,
        provider=content.provider,
        status=status,
        provider_status=content.word,
        amount_cents=content.amount_cents,
        currency=content.currency,
        reference=content.reference,
        flags=in_order(flags),
        history=tuple(history),
        facts=len(timeline.entries),
    )
