"""What a root's change tells the world: domain events, and the compacted record of every state.

In: the root before and after one fact, and the delivery that brought it. Out: records for the outbox,
in order. Their ids come from root and version alone, so folding the same deliveries again, after a
crash or in a replay, gives the same ids (design.md, Meaning, 6).

No name, e-mail, document, phone or address is in any of them: people are keyed hashes.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from projections.delivery import Delivery
from projections.facts import Fact
from projections.fold import Root
from projections.messages import (
    CartData,
    Cause,
    DatedFlag,
    DisputeData,
    OrderData,
    SubscriptionData,
    WithdrawalData,
)
from projections.states import (
    CartState,
    CartStatus,
    DisputeState,
    DisputeStatus,
    Flag,
    OrderState,
    OrderStatus,
    State,
    States,
    SubscriptionState,
    SubscriptionStatus,
    WithdrawalState,
    WithdrawalStatus,
)

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_TO_THE_SECOND: Final = len("1970-01-01T00:00:00")
_SECOND_NS: Final = 1_000_000_000


class Outgoing(NamedTuple):
    """A record for Kafka, as the outbox takes it."""

    topic: str
    """Without the configured prefix."""
    key: str
    """The root; on a `*.state` topic the aggregate's id."""
    partition_key: str
    """The root."""
    id: str
    """`<root>@<version>/<n>`, of a state record with `/state` behind it."""
    type: str
    subject: str
    """The aggregate's id: the root, of a dispute `<root>/<ordinal>`."""
    time: str
    """When the fact occurred, RFC 3339."""
    sequence: str
    """The root's version."""
    data: bytes | None
    """JSON; null on a `*.state` topic deletes the key."""


def version_text(generation: int, facts: int) -> str:
    """A root's version as text that sorts like it: `0001.0000000003`."""
    return f"{generation:04}.{facts:010}"


def outgoing(
    before: Root, after: Root, *, fact: Fact, delivery: Delivery, log: str, generation: int
) -> list[Outgoing]:
    """The events of `before` becoming `after` by `fact`, then the state record of every aggregate."""
    if after is before:
        return []
    telling = _Telling(
        root=after.timeline.root,
        version=version_text(generation, after.facts),
        occurred_at=rfc3339(fact.occurred_at),
        recorded_at=rfc3339(delivery.recorded_at),
        cause=Cause(log=log, position=delivery.position),
    )
    if after.facts == before.facts:
        # A repeat at most moved a fact to an earlier instant. The version is the same, so its ids are used:
        # what changed goes out with the next new fact. Only what is gone would not, and is deleted now.
        disputes = _KINDS[DisputeState]
        return [telling.tombstone(n, disputes) for n in _vanished(before.states, after.states)]
    changes = list(_changes(before.states, after.states))
    events = [event for change in changes if (event := telling.event(*change)) is not None]
    return events + [telling.record(n, state) for n, _, state in changes]


class Amendment(NamedTuple):
    """An aggregate of a root that a swap of all states changes."""

    kind: str
    """`order`, `dispute`, …"""
    n: int
    """0 for the root's own aggregate, the ordinal of a dispute."""
    previous_status: str | None
    """Null where there was none before."""


def amendments(
    after: Root, changed: Sequence[Amendment], *, log: str, position: int, swapped_at: int, generation: int
) -> list[Outgoing]:
    """What a swap tells of a root: `<kind>.amended` for each of `changed`, then their states and tombstones.

    No delivery caused them: the cause names `position`, how far the root's partition was folded then.
    """
    told = after.timeline.entries
    telling = _Telling(
        root=after.timeline.root,
        version=version_text(generation, after.facts),
        occurred_at=rfc3339(told[-1].occurred_at if told else swapped_at),
        recorded_at=rfc3339(swapped_at),
        cause=Cause(log=log, position=position),
    )
    now = {(_KINDS[type(state)].name, n): state for n, _, state in _changes(States(), after.states)}
    there = [(one, state) for one in changed if (state := now.get((one.kind, one.n))) is not None]
    gone = [one for one in changed if (one.kind, one.n) not in now]
    return [
        *(telling.told(one.n, "amended", one.previous_status, state) for one, state in there),
        *(telling.record(one.n, state) for one, state in there),
        *(telling.tombstone(one.n, _KIND_NAMED[one.kind]) for one in gone),
    ]


def rfc3339(instant_ns: int) -> str:
    """`2025-11-03T13:02:10.120034551Z`: always nine digits, so that nothing a provider sent is lost."""
    seconds, nanoseconds = divmod(instant_ns, _SECOND_NS)
    text = (_EPOCH + dt.timedelta(seconds=seconds)).isoformat()
    return f"{text[:_TO_THE_SECOND]}.{nanoseconds:09}Z"


def _changes(before: States, after: States) -> Iterator[tuple[int, State | None, State]]:
    """Every aggregate of the root with its number `n`, as it was and as it is."""
    for was, now in (
        (before.order, after.order),
        (before.subscription, after.subscription),
        (before.withdrawal, after.withdrawal),
        (before.cart, after.cart),
    ):
        if now is not None:
            yield 0, was, now
    known = len(before.disputes)
    for n, dispute in enumerate(after.disputes, start=1):
        yield n, before.disputes[n - 1] if n <= known else None, dispute


def _vanished(before: States, after: States) -> Iterable[int]:
    return range(len(after.disputes) + 1, len(before.disputes) + 1)


class _Telling(NamedTuple):
    """What all records of one change share."""

    root: str
    version: str
    occurred_at: str
    recorded_at: str
    cause: Cause

    def event(self, n: int, before: State | None, after: State) -> Outgoing | None:
        what = _what_changed(_KINDS[type(after)], before, after)
        if what is None:
            return None
        return self.told(n, what, None if before is None else before.status, after)

    def told(self, n: int, what: str, previous_status: str | None, after: State) -> Outgoing:
        kind = _KINDS[type(after)]
        return Outgoing(
            topic=kind.topic,
            key=self.root,
            partition_key=self.root,
            id=f"{self.root}@{self.version}/{n}",
            type=f"{kind.name}.{what}",
            subject=self._aggregate_id(n),
            time=self.occurred_at,
            sequence=self.version,
            data=_encoder.encode(kind.data(self, previous_status, after)),
        )

    def record(self, n: int, state: State) -> Outgoing:
        kind = _KINDS[type(state)]
        # The version goes in front of the state's own members: cheaper than a struct to hold them all.
        data = b'{"version":"%s",%s' % (self.version.encode(), _encoder.encode(state)[1:])
        return self._state_record(kind, n, "state", data)

    def tombstone(self, n: int, kind: "_Kind") -> Outgoing:
        return self._state_record(kind, n, "gone", None)

    def _state_record(self, kind: "_Kind", n: int, suffix: str, data: bytes | None) -> Outgoing:
        aggregate_id = self._aggregate_id(n)
        return Outgoing(
            topic=f"{kind.topic}.state",
            key=aggregate_id,
            partition_key=self.root,
            id=f"{self.root}@{self.version}/{n}/{suffix}",
            type=f"{kind.name}.state",
            subject=aggregate_id,
            time=self.occurred_at,
            sequence=self.version,
            data=data,
        )

    def _aggregate_id(self, n: int) -> str:
        return f"{self.root}/{n}" if n else self.root


def _what_changed(kind: "_Kind", before: State | None, after: State) -> str | None:
    if before is None or before.status != after.status:
        return after.status
    if kind.content(before) != kind.content(after):
        return "updated"
    if kind.course(before) != kind.course(after):
        return "amended"
    return None


class _Kind(NamedTuple):
    """How one kind of aggregate is told of."""

    name: str
    topic: str
    content: Callable[[State], object]
    """What, if it changes alone, makes `<name>.updated`."""
    course: Callable[[State], object]
    """What, if it changes alone, makes `<name>.amended`."""
    data: Callable[..., msgspec.Struct]


def _order_data(telling: _Telling, previous_status: OrderStatus | None, after: OrderState) -> OrderData:
    return OrderData(
        root=after.root,
        account=after.account,
        order_id=after.order_id,
        provider=after.provider,
        version=telling.version,
        previous_status=previous_status,
        status=after.status,
        provider_status=after.provider_status,
        amount_cents=after.amount_cents,
        refunded_cents=after.refunded_cents,
        paid_cents=after.paid_cents,
        currency=after.currency,
        reference=after.reference,
        method=after.method,
        channel=after.channel,
        payer=after.payer,
        products=after.products,
        payments=after.payments,
        total_unknown=after.total_unknown,
        flags=_dated(after.flags),
        occurred_at=telling.occurred_at,
        recorded_at=telling.recorded_at,
        cause=telling.cause,
    )


def _dispute_data(
    telling: _Telling, previous_status: DisputeStatus | None, after: DisputeState
) -> DisputeData:
    return DisputeData(
        root=after.root,
        ordinal=after.ordinal,
        account=after.account,
        subject=after.subject,
        provider=after.provider,
        version=telling.version,
        previous_status=previous_status,
        status=after.status,
        reason=after.reason,
        opened_at=rfc3339(after.opened_at),
        ended_at=None if after.ended_at is None else rfc3339(after.ended_at),
        decided_at=None if after.decided_at is None else rfc3339(after.decided_at),
        occurred_at=telling.occurred_at,
        recorded_at=telling.recorded_at,
        cause=telling.cause,
    )


def _subscription_data(
    telling: _Telling, previous_status: SubscriptionStatus | None, after: SubscriptionState
) -> SubscriptionData:
    return SubscriptionData(
        root=after.root,
        account=after.account,
        subscription_id=after.subscription_id,
        provider=after.provider,
        version=telling.version,
        previous_status=previous_status,
        status=after.status,
        provider_status=after.provider_status,
        reference=after.reference,
        payer=after.payer,
        flags=_dated(after.flags),
        occurred_at=telling.occurred_at,
        recorded_at=telling.recorded_at,
        cause=telling.cause,
    )


def _withdrawal_data(
    telling: _Telling, previous_status: WithdrawalStatus | None, after: WithdrawalState
) -> WithdrawalData:
    return WithdrawalData(
        root=after.root,
        account=after.account,
        withdrawal_id=after.withdrawal_id,
        provider=after.provider,
        version=telling.version,
        previous_status=previous_status,
        status=after.status,
        provider_status=after.provider_status,
        amount_cents=after.amount_cents,
        currency=after.currency,
        reference=after.reference,
        flags=_dated(after.flags),
        occurred_at=telling.occurred_at,
        recorded_at=telling.recorded_at,
        cause=telling.cause,
    )


def _cart_data(telling: _Telling, previous_status: CartStatus | None, after: CartState) -> CartData:
    return CartData(
        root=after.root,
        account=after.account,
        cart_id=after.cart_id,
        provider=after.provider,
        version=telling.version,
        previous_status=previous_status,
        status=after.status,
        amount_cents=after.amount_cents,
        currency=after.currency,
        payer=after.payer,
        products=after.products,
        recovery_url=after.recovery_url,
        abandoned_at=rfc3339(after.abandoned_at),
        flags=_dated(after.flags),
        occurred_at=telling.occurred_at,
        recorded_at=telling.recorded_at,
        cause=telling.cause,
    )


def _dated(flags: Sequence[Flag]) -> tuple[DatedFlag, ...]:
    return tuple(DatedFlag(flag.name, rfc3339(flag.occurred_at)) for flag in flags)


_FLAGS_AND_HISTORY: Final = attrgetter("flags", "history")

_KINDS: Final[dict[type[State], _Kind]] = {
    OrderState: _Kind(
        "order",
        "orders",
        attrgetter(
            "amount_cents",
            "refunded_cents",
            "paid_cents",
            "currency",
            "reference",
            "method",
            "channel",
            "payer",
            "products",
            "payments",
            "total_unknown",
        ),
        _FLAGS_AND_HISTORY,
        _order_data,
    ),
    DisputeState: _Kind(
        "dispute",
        "disputes",
        attrgetter("subject", "reason"),
        attrgetter("opened_at", "ended_at", "decided_at", "history"),
        _dispute_data,
    ),
    SubscriptionState: _Kind(
        "subscription",
        "subscriptions",
        attrgetter("reference", "payer"),
        _FLAGS_AND_HISTORY,
        _subscription_data,
    ),
    WithdrawalState: _Kind(
        "withdrawal",
        "withdrawals",
        attrgetter("amount_cents", "currency", "reference"),
        _FLAGS_AND_HISTORY,
        _withdrawal_data,
    ),
    CartState: _Kind(
        "cart",
        "carts",
        attrgetter("amount_cents", "currency", "payer", "products", "recovery_url"),
        _FLAGS_AND_HISTORY,
        _cart_data,
    ),
}

_KIND_NAMED: Final = {kind.name: kind for kind in _KINDS.values()}

_encoder = msgspec.json.Encoder()
