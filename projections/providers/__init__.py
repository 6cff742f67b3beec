"""One adapter per payment provider: a delivery in, a fact or an Unreadable reason out.

An adapter is two functions: `root_of`, cheap, for the ingress that has just parsed the body, and `read`.
A fact is a function of the parsed object, the URL's marker, the account and the `Reading` alone; of the
row's own columns only recorded_at enters, where a delivery carries no date at all.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from projections.delivery import Delivery
from projections.facts import Fact, Reading, Unreadable
from projections.providers import admin, aprovei, barte, gen, operator
from projections.providers.documents import ESCAPE, NOT_AN_OBJECT, Document, parsed, refuse_nul


class Adapter(NamedTuple):
    """What reads one provider's deliveries."""

    root_of: Callable[[str, Document, str | None], str]
    """The root by account, parsed body and the URL's marker; raises Unreadable."""
    read: Callable[[Delivery, Document, Reading], Fact]
    """The fact; raises Unreadable."""
    names: frozenset[str]
    """Those of the members of its payloads."""


def _adapter_in(module: Any) -> Adapter:
    structs = (member for member in vars(module).values() if isinstance(member, msgspec.StructMeta))
    names = frozenset(name for struct in structs for name in struct.__struct_encode_fields__)
    return Adapter(module.root_of, module.read, names)


ADAPTERS: Final[dict[str, Adapter]] = {
    module.__name__.rpartition(".")[2]: _adapter_in(module)
    for module in (admin, aprovei, barte, gen, operator)
}
"""By the provider's name in recibo.toml and in the log."""


def root_of(provider: str, account: str, document: object, kind: str | None) -> str:
    """The root of a parsed body that came to `account` under the URL's marker `kind`.

    Raises Unreadable where none can be read. What else is unreadable, `read` finds.
    """
    if not isinstance(document, dict):
        raise Unreadable(NOT_AN_OBJECT)
    return _adapter(provider).root_of(account, document, kind)


def read(delivery: Delivery, reading: Reading, document: Document | None = None) -> Fact:
    """What `delivery` says; `document` is the object in its body, where that is parsed already.

    Raises Unreadable, whose reason names the field.
    """
    if document is None:
        document = parsed(delivery.body)
    adapter = _adapter(delivery.provider)
    if ESCAPE in delivery.body:
        refuse_nul(document, delivery.body, adapter.names)
    return adapter.read(delivery, document, reading)


def _adapter(provider: str) -> Adapter:
    try:
        return ADAPTERS[provider]
    except KeyError:
        raise Unreadable("provider: there is no adapter for it") from None
