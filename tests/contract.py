"""What every adapter promises of every delivery whatever, for the property tests and the fuzzer."""

import re

import msgspec

from projections import providers
from projections.delivery import Delivery
from projections.facts import INSTANT_MAX_NS, INSTANT_MIN_NS, INTEGER_MAX, Fact, Reading, Unreadable
from projections.fold import Root
from projections.providers.documents import parsed
from tests.bodies import PLAIN
from tests.facts import empty_root, told

NAMED = re.compile(r"(a member|[A-Za-z_]+)((\.(a member|[A-Za-z_]+))|(\[[0-9]+\]))*: .")
"""How a reason begins: where the field is, a member that no table knows as `a member`."""

REASON_LENGTH_MAX = 300

_NUL = re.compile(rb"(?<!\\)(\\\\)*\\u0000")
"""As JSON has it: what stands behind a backslash of its own is only spelled so."""


def assert_kept(delivery: Delivery, reading: Reading) -> None:
    """A fact or a reason, the same each time, and the root that the ingress reads is the fact's."""
    found = outcome(delivery, reading)
    root = root_or_reason(delivery)

    assert outcome(delivery, reading) == found
    if isinstance(found, Fact):
        assert root == found.root
        assert_can_be_kept(found)
    else:
        assert_says_where(found)
    if isinstance(root, Unreadable):
        assert_says_where(root.reason)


def outcome(delivery: Delivery, reading: Reading = PLAIN) -> Fact | str:
    """The fact, or the reason why there is none; whatever else is raised is the adapter's fault."""
    try:
        return providers.read(delivery, reading)
    except Unreadable as unreadable:
        return unreadable.reason


def root_or_reason(delivery: Delivery) -> str | Unreadable:
    """The root that the ingress stores, or the reason why it stores none."""
    try:
        return providers.root_of(delivery.provider, delivery.account, parsed(delivery.body), delivery.kind)
    except Unreadable as unreadable:
        return unreadable


def assert_can_be_kept(fact: Fact) -> None:
    """What the fold makes of the fact is something that Postgres takes, and the same when read back."""
    stored = empty_root(fact.root).join(fact).encode()
    assert not _NUL.search(stored)
    assert Root.decode(fact.root, stored).states == told(fact)
    assert INSTANT_MIN_NS <= fact.occurred_at < INSTANT_MAX_NS
    for cents in (fact.amount_cents, fact.refunded_cents, fact.subtotal_cents):
        assert cents is None or -INTEGER_MAX - 1 <= cents <= INTEGER_MAX
    assert len(fact.root) <= 200 and fact.root.isprintable()
    assert msgspec.json.decode(msgspec.json.encode(fact), type=Fact) == fact


def assert_says_where(reason: str) -> None:
    """The reason begins with the field, and is no more than a line."""
    assert NAMED.match(reason), reason
    assert "\x00" not in reason
    assert len(reason) < REASON_LENGTH_MAX
