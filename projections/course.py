"""The course of one subject, an order or a payment, through its own snapshots.

In: its snapshots in timeline order, one by one. Out: its status after each, and the flags so far.
Lives within one fold.
"""

from typing import Final

from projections.content import Content, restates
from projections.facts import Fact
from projections.states import Flag, FlagName, OrderStatus
from projections.transitions import TRANSITIONS, WITH_MONEY

_MONEY_CAME: Final = WITH_MONEY | {"charged_back"}
_OWN_FLAGS: Final[dict[str, FlagName]] = {"possible_win": "possible_win"}


class Course:
    """Where one subject stands after the snapshots taken so far."""

    __slots__ = ("_authorized", "_meaning", "_money", "content", "ever_paid", "flags", "last", "status")

    def __init__(self) -> None:
        self.status: OrderStatus = "pending"
        self.content = Content()
        self.flags: list[Flag] = []
        self.last: Fact | None = None
        """The last snapshot that did not merely restate the one before it."""
        self.ever_paid = False
        self._meaning = ""
        self._authorized = False
        self._money = False

    def take(self, fact: Fact) -> str:
        """Take the next snapshot; what its word came to mean here.

        That is a status, `canceled` where the word left a settled subject as it is, or `alert`.
        Raises KeyError for a word that is not in the vocabulary.
        """
        self.content.take(fact)
        last = self.last
        said_again = last is not None and last.status == fact.status
        if last is not None and said_again and restates(fact, last):
            return self._meaning
        self.last = fact
        if fact.flag is not None:
            self._raise(_OWN_FLAGS[fact.flag], fact)
        if not said_again:
            # Else only the content is new: a cancel that became a refund is not a second cancel.
            word = fact.status or ""
            self._meaning = word if word == "alert" else self._move(word, fact)
        return self._meaning

    def _move(self, word: str, fact: Fact) -> str:
        if word == "reversed":
            # After a mere authorisation it gave nothing back (gen.md, 5, line 7).
            word = "canceled" if self._authorized and not self._money else "refunded"
        status, flag = TRANSITIONS[self.status, word]
        self.status = status
        if status == "authorized":
            self._authorized = True
        elif status in _MONEY_CAME:
            self._money = True
            self.ever_paid = self.ever_paid or status == "paid"
        if flag is None:
            return status
        self._raise(flag, fact)
        return word if flag == "canceled_after_settlement" else status

    def _raise(self, name: FlagName, fact: Fact) -> None:
        self.flags.append(Flag(name, fact.occurred_at))
