"""The courses of an order's subjects and the operator's decisions → its disputes.

A dispute is a maximal run of contested snapshots of one subject (docs/providers/README.md, Disputes).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.checker.course import CONTESTED, GIVEN_BACK, PAID_LIKE, Flag, Step
from tests.checker.facts import Fact, parts

_STATUS_OF: Final = {"alert": "alerted", "disputed": "open", "charged_back": "charged_back"}


@dataclass(slots=True)
class _Run:
    steps: list[Step] = field(default_factory=list)
    ended_by: Step | None = None
    decisions: list[Fact] = field(default_factory=list)

    @property
    def decision(self) -> Fact | None:
        """The one that holds: the last."""
        return self.decisions[-1] if self.decisions else None

    @property
    def opening(self) -> Fact:
        return self.steps[0].fact

    def holds(self, key: str) -> bool:
        return any(_key(step.fact.key, step.fact) == _key(key, step.fact) for step in self.steps)


def disputes(
    root: str, facts: int, courses: Iterable[Sequence[Step]], decisions: Sequence[Fact]
) -> tuple[list[dict[str, object]], set[Flag]]:
    """The disputes by ordinal, and the flags that decisions raise. `decisions` are sorted."""
    runs = [run for course in courses for run in _runs(course)]
    runs.sort(key=lambda run: (run.opening.occurred_at, run.opening.subject))
    flags: set[Flag] = set()
    for decision in decisions:
        named = [run for run in runs if run.holds(decision.answers)]
        for run in named:
            run.decisions.append(decision)
        if not named:
            flags.add(Flag("decision_without_dispute", decision.occurred_at))
    flags |= {
        Flag("paid_after_lost", run.ended_by.fact.occurred_at)
        for run in runs
        if run.ended_by and run.ended_by.own in PAID_LIKE and run.decision and run.decision.status == "lost"
    }
    return [_state(root, facts, ordinal, run) for ordinal, run in enumerate(runs, 1)], flags


def _runs(course: Sequence[Step]) -> list[_Run]:
    runs: list[_Run] = []
    under_way: _Run | None = None
    for step in course:
        if step.own in CONTESTED:
            if under_way is None:
                under_way = _Run()
                runs.append(under_way)
            under_way.steps.append(step)
        elif under_way is not None:
            under_way.ended_by = step
            under_way = None
    return runs


def _state(root: str, facts: int, ordinal: int, run: _Run) -> dict[str, object]:
    history: list[dict[str, object]] = []
    for step in run.steps:
        # An alert after a formal word says nothing new.
        if step.own != "alert" or not history:
            _began(history, _STATUS_OF[step.own], step.fact.occurred_at)
    reason = None
    if run.ended_by is not None:
        status, reason = _ending(str(history[-1]["status"]), run.ended_by)
        _began(history, status, run.ended_by.fact.occurred_at)
    if run.decision is not None:
        # From the first decision on nothing else counts, whatever ends the run.
        first = run.decisions[0].occurred_at
        history = [entry for entry in history if int(str(entry["began_at"])) <= first]
        reason = None
        for decision in run.decisions:
            _began(history, str(decision.status), decision.occurred_at)
    return {
        "root": root,
        "ordinal": ordinal,
        "account": parts(root)[0],
        "subject": run.opening.subject,
        "provider": run.opening.provider,
        "status": history[-1]["status"],
        "reason": reason,
        "opened_at": run.opening.occurred_at,
        "ended_at": run.ended_by and run.ended_by.fact.occurred_at,
        "decided_at": run.decision and run.decision.occurred_at,
        "history": history,
        "facts": facts,
    }


def _began(history: list[dict[str, object]], status: str, at: int) -> None:
    if not history or history[-1]["status"] != status:
        history.append({"status": status, "began_at": at})


def _ending(status: str, step: Step) -> tuple[str, str | None]:
    """What a dispute becomes by the snapshot that ends it, and why."""
    if step.own in PAID_LIKE:
        if step.fact.provider == "aprovei":
            return status, None
        return ("closed" if status == "alerted" else "won"), None
    if status == "charged_back":
        return status, None
    became_refunded = step.own == "canceled" and step.after == "refunded" != step.before
    return "closed", "refunded" if step.own in GIVEN_BACK or became_refunded else None


def _key(key: str, fact: Fact) -> str:
    # The case of Gen's kind, the key's first member, is nowhere said.
    if fact.provider != "gen":
        return key
    kind, bar, rest = key.partition("|")
    return kind.lower() + bar + rest
