"""The operator: what is decided here of a dispute (service/decisions.py writes these deliveries).

A decision names the key of a contested fact that it answers, and is timed by its own date.
"""

from typing import Any, Final

import msgspec

from projections.delivery import Delivery
from projections.facts import PRECEDENCE_WITHOUT_STATUS, Fact, Reading, Unreadable
from projections.providers.documents import Document, identity, payload
from projections.providers.instants import instant
from projections.providers.roots import root_name


class Decision(msgspec.Struct, gc=False):
    """A word on the dispute that holds the fact with the key `answers`."""

    root: str
    answers: str
    decision: str
    """`lost` or `closed`."""
    decided_at: str
    note: Any = None
    """For people; not read."""


_DECISIONS: Final = frozenset({"lost", "closed"})


def root_of(_account: str, document: Document, _kind: str | None) -> str:
    """The order whose dispute is decided. Raises Unreadable."""
    root = document.get("root")
    account, aggregate, order_id = (*(root if isinstance(root, str) else "").split(":", 2), "", "")[:3]
    if not account or aggregate != "order":
        raise Unreadable("root: expected <account>:order:<id>")
    return root_name(account, "order", order_id, "root")


def read(_delivery: Delivery, document: Document, _reading: Reading) -> Fact:
    """The decision. Raises Unreadable."""
    root = root_of("", document, None)
    decision = payload(document, Decision)
    if decision.decision not in _DECISIONS:
        raise Unreadable("decision: expected lost or closed")
    return Fact(
        identity=identity(document, decision.answers, decision.decision, decision.decided_at),
        root=root,
        kind="decision",
        subject="",
        status=decision.decision,
        word="",
        precedence=PRECEDENCE_WITHOUT_STATUS,
        occurred_at=instant(decision.decided_at, "decided_at"),
        occurred_text=decision.decided_at,
        provider="operator",
        answers=decision.answers,
    )
