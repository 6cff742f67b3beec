"""The disputes of an order: runs of contested snapshots, how they ended, what an operator decided.

In: the order's snapshots in timeline order, each with what its word came to mean, and the decisions.
Out: the disputes by ordinal, and the flags that they raise (docs/providers/README.md, "Disputes").

Nothing here depends on when a decision arrived: it finds its dispute by the key of a contested fact.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from projections.facts import Fact
from projections.states import Began, DisputeState, DisputeStatus, Flag, begin

CONTESTED: Final[dict[str, DisputeStatus]] = {
    "alert": "alerted",
    "disputed": "open",
    "charged_back": "charged_back",
}
"""The words of a contested snapshot, and what a dispute is after each."""

_PAID: Final = frozenset({"paid", "partially_paid"})
_GIVEN_BACK: Final = frozenset({"refunded", "partially_refunded"})
_DECISIONS: Final[dict[str, DisputeStatus]] = {"lost": "lost", "closed": "closed"}


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A snapshot, and what its word came to mean by what came before it."""

    fact: Fact
    meaning: str


class Run:
    """A maximal run of consecutive contested snapshots of one subject, and what followed it."""

    __slots__ = ("_history", "_status", "decisions", "ended_by", "facts", "reason")

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.ended_by: Turn | None = None
        self.decisions: list[Fact] = []
        self.reason: Literal["refunded"] | None = None
        self._status: DisputeStatus = "alerted"
        self._history: list[Began] = []

    def take(self, fact: Fact) -> None:
        """Take the next contested snapshot."""
        self.facts.append(fact)
        if fact.status != "alert":
            self._status = CONTESTED[fact.status or ""]
        begin(self._history, self._status, fact.occurred_at)

    def end(self, turn: Turn) -> None:
        """End with the first snapshot that is not contested."""
        self.ended_by = turn
        if turn.meaning in _PAID:
            self._end_paid(turn.fact)
        elif self._status != "charged_back":
            self._status = "closed"
            self.reason = "refunded" if turn.meaning in _GIVEN_BACK else None
        begin(self._history, self._status, turn.fact.occurred_at)

    def _end_paid(self, fact: Fact) -> None:
        if fact.win_dated:
            self._status = "closed" if self._status == "alerted" else "won"

    @property
    def paid_after_lost(self) -> Fact | None:
        """The snapshot that paid what an operator had called lost."""
        if self.ended_by is None or self.ended_by.meaning not in _PAID or not self.decisions:
            return None
        return self.ended_by.fact if self.decisions[-1].status == "lost" else None

    def state(self, root: str, ordinal: int, facts: int) -> DisputeState:
        """The dispute as it stands; a decision holds, whatever ends the run."""
        decision = self.decisions[-1] if self.decisions else None
        return DisputeState(
            root=root,
            ordinal=ordinal,
            account=root.partition(":")[0],
            subject=self.facts[0].subject,
            provider=self.facts[-1].provider,
            status=self._status if decision is None else _DECISIONS[decision.status or ""],
            reason=self.reason if decision is None else None,
            opened_at=self.facts[0].occurred_at,
            ended_at=None if self.ended_by is None else self.ended_by.fact.occurred_at,
            decided_at=None if decision is None else decision.occurred_at,
            history=tuple(self._decided_history() if self.decisions else self._history),
            facts=facts,
        )

    def _decided_history(self) -> list[Began]:
        first = self.decisions[0].occurred_at
        history = [entry for entry in self._history if entry.began_at <= first]
        for decision in self.decisions:
            begin(history, _DECISIONS[decision.status or ""], decision.occurred_at)
        return history


def runs_of(turns: Iterable[Turn], decisions: Sequence[Fact]) -> tuple[list[Run], list[Flag]]:
    """The runs in the order in which they opened, and the flags that they and `decisions` raise.

    Both are in timeline order, so of several decisions on one dispute the last one there holds.
    """
    runs: list[Run] = []
    running: dict[str, Run] = {}
    for turn in turns:
        if turn.fact.status in CONTESTED:
            subject = turn.fact.subject
            if subject not in running:
                running[subject] = Run()
                runs.append(running[subject])
            running[subject].take(turn.fact)
        elif running and turn.fact.subject in running:
            running.pop(turn.fact.subject).end(turn)
    runs.sort(key=_opening)
    flags = _decide(runs, decisions) if decisions else []
    return runs, flags


def _opening(run: Run) -> tuple[int, str]:
    # Not the timeline's order, which at one instant goes by the word first.
    return run.facts[0].occurred_at, run.facts[0].subject


def _decide(runs: Sequence[Run], decisions: Sequence[Fact]) -> list[Flag]:
    """Give each decision to the runs that hold what it answers."""
    flags: list[Flag] = []
    holders: dict[str, dict[int, Run]] = {}
    for ordinal, run in enumerate(runs):
        for held in run.facts:
            holders.setdefault(held.key, {})[ordinal] = run
    for decision in decisions:
        answered = holders.get(decision.answers or "", {}).values()
        for run in answered:
            run.decisions.append(decision)
        if not answered:
            flags.append(Flag("decision_without_dispute", decision.occurred_at))
    paid = [fact for run in runs if (fact := run.paid_after_lost) is not None]
    return flags + [Flag("paid_after_lost", fact.occurred_at) for fact in paid]
