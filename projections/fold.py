"""One root: its timeline and a fact in, its next timeline and states out.

The one fold, for both drivers: the projector keeps a `Root` while it folds a batch, replay joins
facts to a `Timeline` and asks for the states at the end. Pure: what a crash loses, folding the same
deliveries again gives back.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final, Self

import msgspec

from projections import providers
from projections.carts import cart_of
from projections.delivery import Delivery
from projections.facts import Fact, Reading, Unreadable
from projections.orders import order_of
from projections.providers.documents import parsed_each
from projections.states import States
from projections.subscriptions import subscription_of
from projections.timeline import Timeline
from projections.withdrawals import withdrawal_of

FOLD_VERSION: Final = 1
"""Raise it with any change of code that alters what was already understood: states are rebuilt then.
Learning to read what was quarantined is no such change."""

_FACT_BYTES_MEAN_MAX: Final = 4_096
"""Of all facts of a root, as stored; usual ones take 300 to 600. It bounds the cost of each further fact."""

STATE_NAMES_BYTES: Final = 2_048
"""A state has at most this many bytes more than the timeline: each of its texts and entries comes from a
fact, and what no fact brings are the names of its members."""

PARSED_AHEAD: Final = 64
"""Bodies whose objects are in memory together."""


class TooLargeError(Exception):
    """A root that passes a limit of its size; the text names the limit and the setting."""


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
        _admit(delivery, retrying=retrying)
    return fact


def interpret_each(
    deliveries: Sequence[Delivery], reading: Reading, *, retrying: bool = False
) -> list[Fact | Exception]:
    """What each of `deliveries` says; in its place Unreadable, or what else was raised, an adapter's fault.

    Some dozens are parsed before the first is read: a twentieth faster than one by one.
    """
    facts: list[Fact | Exception] = []
    for start in range(0, len(deliveries), PARSED_AHEAD):
        some = deliveries[start : start + PARSED_AHEAD]
        documents = parsed_each([delivery.body for delivery in some])
        for delivery, document in zip(some, documents, strict=True):
            try:
                fact = providers.read(delivery, reading, document)
                if delivery.root != fact.root:
                    _admit(delivery, retrying=retrying)
                facts.append(fact)
            except Unreadable as error:
                # Anew: one that was raised holds on to its frames, and these to all that was read here.
                facts.append(Unreadable(error.reason))
            except Exception as error:  # noqa: BLE001  Who asked decides; the others are read all the same.
                facts.append(error)
    return facts


def _admit(delivery: Delivery, *, retrying: bool) -> None:
    """Raise Unreadable unless `delivery`, in which another root is read than its row has, may be folded."""
    if delivery.root is not None:
        raise Unreadable("root: the delivery names another one than its row")
    if not retrying:
        raise Unreadable("root: readable now, but the row was stored without one; retry it")


class Root(msgspec.Struct, frozen=True):
    """A root as folded so far: its timeline, and the states that derive from it."""

    timeline: Timeline
    states: States

    @classmethod
    def decode(cls, root: str, document: bytes | None) -> Self:
        """Return the root as stored (`encode`); null for one without any fact. Raises as Timeline.decode."""
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
    """What is true by `timeline`: nothing without facts.

    Raises OverflowError where amounts add up beyond a bigint, else what only a fault of the code can.
    """
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


def check_size(timeline: Timeline, document: bytes, states: States, limits: Reading) -> None:
    """Raise TooLargeError if the root passes a limit; `document` is the encoded timeline.

    All drivers of the fold call it, so they park the same roots.
    """
    check_facts(len(timeline.entries), limits)
    if len(document) + STATE_NAMES_BYTES <= limits.state_bytes_max:
        return
    if len(document) > limits.facts_max * _FACT_BYTES_MEAN_MAX:
        raise TooLargeError(
            f"its facts have {len(document)} bytes, over {_FACT_BYTES_MEAN_MAX} for each of fold.facts_max"
        )
    own = (states.order, states.subscription, states.withdrawal, states.cart, *states.disputes)
    for state in own:
        if state is not None:
            check_bytes(len(_encode(state)), limits)


def check_facts(count: int, limits: Reading) -> None:
    """Raise TooLargeError if a root of `count` facts passes the limit."""
    if count > limits.facts_max:
        raise TooLargeError(f"it has more than {limits.facts_max} facts (fold.facts_max)")


def check_bytes(size: int, limits: Reading) -> None:
    """Raise TooLargeError if a state or event of `size` bytes passes the limit."""
    if size > limits.state_bytes_max:
        raise TooLargeError(
            f"a state or event of it has {size} bytes, over {limits.state_bytes_max} (fold.state_bytes_max)"
        )


_encode: Final = msgspec.json.Encoder().encode
