"""One root: its timeline and a fact in, its next timeline and states out.

The one fold, for both drivers: the projector keeps a `Root` while it folds a batch, replay joins
facts to a `Timeline` and asks for the states at the end. Pure: what a crash loses, folding the same
deliveries again gives back.
"""

import hashlib
import hmac
from typing import Final, Self

import msgspec

from projections import providers
from projections.carts import cart_of
from projections.delivery import Delivery
from projections.facts import Fact, Reading, Unreadable
from projections.orders import order_of
from projections.states import States
from projections.subscriptions import subscription_of
from projections.timeline import Timeline
from projections.withdrawals import withdrawal_of

FOLD_VERSION: Final = 1
"""Raise it with any change of code that alters what was already understood: states are rebuilt then.
Learning to read what was quarantined is no such change."""


def fold_version(reading: Reading) -> str:
    """What states were folded with, `1-<12 hex digits>`: the code, and every setting that the fold reads.

    The payer key is in it only as the key of a digest, so it cannot be read from there.
    """
    digest = hmac.digest(reading.payer_key or b"", b"recibo fold version", hashlib.sha256)
    has_key = reading.payer_key is not None
    settings = msgspec.json.encode([reading.barte_zone, has_key, digest.hex()])
    return f"{FOLD_VERSION}-{hashlib.sha256(settings).hexdigest()[:12]}"


def interpret(delivery: Delivery, reading: Reading, *, retrying: bool = False) -> Fact:
    """What `delivery` says. `retrying` admits one whose row has no root; another root never is.

    Raises Unreadable, whose reason is kept with the delivery.
    """
    fact = providers.read(delivery, reading)
    if delivery.root != fact.root:
        if delivery.root is not None:
            raise Unreadable("root: the delivery names another one than its row")
        if not retrying:
            raise Unreadable("root: readable now, but the row was stored without one; retry it")
    return fact


class Root(msgspec.Struct, frozen=True):
    """A root as folded so far: its timeline, and the states that derive from it."""

    timeline: Timeline
    states: States

    @classmethod
    def decode(cls, root: str, document: bytes | None) -> Self:
        """The root as stored (`encode`); null for one without any fact. Raises msgspec.DecodeError."""
        timeline = Timeline.decode(root, document)
        return cls(timeline, states_of(timeline))

    def encode(self) -> bytes:
        """The root's timeline, to be stored; the states derive from it."""
        return self.timeline.encode()

    @property
    def facts(self) -> int:
        """How many distinct facts it has: the second half of its version."""
        return len(self.timeline.entries)

    def join(self, fact: Fact) -> Self:
        """The root with `fact`; itself where that changes nothing."""
        timeline = self.timeline.join(fact)
        return self if timeline is self.timeline else type(self)(timeline, states_of(timeline))


def states_of(timeline: Timeline) -> States:
    """What is true by `timeline`: nothing without facts. Raises what only a fault of the code can."""
    if not timeline.entries:
        return States()
    match timeline.root.split(":", 2)[1]:
        case "order":
            order, disputes = order_of(timeline)
            return States(order=order, disputes=disputes)
        case "subscription":
            return States(subscription=subscription_of(timeline))
        case "withdrawal":
            return States(withdrawal=withdrawal_of(timeline))
        case "cart":
            return States(cart=cart_of(timeline))
        case other:
            raise ValueError(f"no aggregate of the kind {other}")
