"""A cart, from the timeline of its root (docs/providers/README.md, section 2).

Abandoned is all that a provider tells of one. Whether it was recovered joins two roots, whose order of
arrival means nothing: a view tells it, never the fold.
"""

from projections.content import Content
from projections.states import Began, CartState
from projections.timeline import Timeline


def cart_of(timeline: Timeline) -> CartState:
    """The cart that `timeline`, which has at least one fact, is about."""
    account, _, cart_id = timeline.root.split(":", 2)
    content = Content.of(timeline.entries)
    abandoned_at = timeline.entries[0].occurred_at
    return CartState(
        root=timeline.root,
        account=account,
        cart_id=cart_id,
        provider=content.provider,
        status="abandoned",
        amount_cents=content.amount_cents,
        currency=content.currency,
        payer=content.payer,
        products=content.products,
        recovery_url=content.recovery_url,
        abandoned_at=abandoned_at,
        flags=(),
        history=(Began("abandoned", abandoned_at),),
        facts=len(timeline.entries),
    )
