"""The rows of the state tables against the naive fold's: statement 5, and the states of 7.

Pure. Keeps a digest-sized text of each expected row, not the row.
"""

from collections.abc import Iterator, Mapping, Set
from typing import Final

import orjson

from tests.checker.fold import State, States
from tests.checker.report import Finding

PAYER: Final = frozenset({"payer_document", "payer_email", "payer_phone"})


class Live:
    """What the tables must hold, ticked off."""

    def __init__(self, *, leave_out: Set[str] = frozenset()) -> None:
        self._leave_out = leave_out
        self._due: dict[tuple[str, str, int], bytes] = {}
        self._early: list[Finding] = []

    def expect(self, root: str, states: States) -> None:
        """Enter the states of a root."""
        for table, rows in states.items():
            for number, row in enumerate(rows, 1):
                self._due[table, root, number if table == "dispute_state" else 0] = self._text(row)

    def row(self, table: str, row: Mapping[str, object]) -> None:
        """Enter a row of a state table."""
        root, ordinal = str(row["root"]), row.get("ordinal", 0)
        assert isinstance(ordinal, int)
        due = self._due.pop((table, root, ordinal), None)
        concerns = f"{root}/{ordinal}" if ordinal else root
        if due is None:
            self._early.append(Finding("stranger", concerns, f"no delivery caused this row of {table}"))
        elif due != self._text(row):
            self._early.append(Finding("wrong state", concerns, self._difference(orjson.loads(due), row)))

    def findings(self) -> Iterator[Finding]:
        """What is wrong or missing, once all is entered."""
        yield from self._early
        for table, root, ordinal in self._due:
            concerns = f"{root}/{ordinal}" if ordinal else root
            yield Finding("wrong state", concerns, f"{table} has no row")

    def _difference(self, due: State, found: Mapping[str, object]) -> str:
        names = sorted((due.keys() | found.keys()) - self._leave_out)
        return ", ".join(
            f"{name} is {found.get(name)!r}, not {due.get(name)!r}"
            for name in names
            if due.get(name) != found.get(name)
        )

    def _text(self, row: Mapping[str, object]) -> bytes:
        kept = {name: value for name, value in row.items() if name not in self._leave_out}
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)


def quarantined(log: str, expected: Set[int], found: Set[int]) -> Iterator[Finding]:
    """Deliveries that are quarantined though they can be read, or the other way round."""
    for position in sorted(expected - found):
        yield Finding("wrong state", f"delivery {log}-{position}", "unreadable, but not quarantined")
    for position in sorted(found - expected):
        yield Finding("wrong state", f"delivery {log}-{position}", "quarantined, but readable")


def parked(expected: Set[str], reasons: Mapping[str, str]) -> Iterator[Finding]:
    """Roots that wait though nobody expected it, for their state is behind the log; or do not wait."""
    for root in sorted(reasons.keys() - expected):
        yield Finding("wrong state", root, f"parked: {reasons[root]}")
    for root in sorted(expected - reasons.keys()):
        yield Finding("wrong state", root, "not parked")
