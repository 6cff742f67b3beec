"""What facts carry besides a status: member by member, that of the last fact which carries it.

In: facts in timeline order. Out: their combined content (docs/providers/README.md, The fold, 3).
"""

from typing import Self

import msgspec

from projections.facts import Fact, Payer
from projections.states import DEFAULT_CURRENCY

_NOBODY = Payer()


class Content(msgspec.Struct, gc=False):
    """The content of the facts taken so far. Lives within one fold; states copy what they need."""

    provider: str = ""
    word: str = ""
    amount_cents: int | None = None
    refunded_cents: int | None = None
    currency: str = DEFAULT_CURRENCY
    reference: str | None = None
    method: str | None = None
    channel: str | None = None
    payer: Payer | None = None
    products: tuple[str, ...] | None = None
    subtotal_cents: int | None = None
    recovery_url: str | None = None

    def take(self, fact: Fact) -> None:
        """Let `fact`, which comes after those taken so far, replace what it carries."""
        self.take_circumstances(fact)
        if fact.amount_cents is not None:
            self.amount_cents = fact.amount_cents
        if fact.refunded_cents is not None or fact.refunded_unknown:
            self.refunded_cents = fact.refunded_cents
        if fact.reference is not None:
            self.reference = fact.reference
        if fact.subtotal_cents is not None:
            self.subtotal_cents = fact.subtotal_cents
        if fact.recovery_url is not None:
            self.recovery_url = fact.recovery_url

    def take_circumstances(self, fact: Fact) -> None:
        """The same, without what is the subject's own: amounts, reference, address.

        So an order takes who pays and how from its payments, and nothing that is not the order's.
        """
        self.provider = fact.provider
        if fact.word:
            self.word = fact.word
        if fact.currency is not None:
            self.currency = fact.currency
        if fact.method is not None:
            self.method = fact.method
        if fact.channel is not None:
            self.channel = fact.channel
        if fact.payer is not None and fact.payer != _NOBODY:
            self.payer = fact.payer
        if fact.products is not None:
            self.products = fact.products

    @classmethod
    def of(cls, facts: tuple[Fact, ...]) -> Self:
        """The content of `facts`, which are in timeline order."""
        content = cls()
        for fact in facts:
            content.take(fact)
        return content


def restates(fact: Fact, earlier: Fact) -> bool:
    """Whether `fact` says of its subject the same as `earlier`: the same word, the same content.

    Two such snapshots in a row count as one (design.md, Meaning, 3).
    """
    return (
        fact.status == earlier.status
        and fact.flag == earlier.flag
        and fact.amount_cents == earlier.amount_cents
        and fact.refunded_cents == earlier.refunded_cents
        and fact.refunded_unknown == earlier.refunded_unknown
        and fact.currency == earlier.currency
        and fact.reference == earlier.reference
        and fact.method == earlier.method
        and fact.channel == earlier.channel
        and fact.payer == earlier.payer
        and fact.products == earlier.products
        and fact.subtotal_cents == earlier.subtotal_cents
        and fact.word.strip().upper() == earlier.word.strip().upper()
    )
