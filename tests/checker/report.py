"""What the checker found: counts, and for each violated statement whom it concerns."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import StringIO
from typing import Final, Literal, NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

Kind = Literal[
    "lost",
    "doubled",
    "gap",
    "unread",
    "wrong state",
    "missing event",
    "doubled event",
    "mistyped event",
    "reordered",
    "stranger",
]

STATEMENTS: Final = (
    "of each body, as many rows as receipts or more",
    "of each body, no more rows than requests and unknown outcomes",
    "positions are dense",
    "each position read once from Kafka, or shown missing there, and in the log",
    "the live state is what an independent fold makes of the deliveries",
    "the events are those that folding the log yields, once, in order per root",
    "nothing downstream that nobody sent",
)
_STATEMENT_OF: Final[dict[Kind, int]] = {
    "lost": 1,
    "doubled": 2,
    "gap": 3,
    "unread": 4,
    "wrong state": 5,
    "missing event": 6,
    "doubled event": 6,
    "mistyped event": 6,
    "reordered": 6,
    "stranger": 7,
}
_SHOWN_PER_STATEMENT: Final = 20
_KEPT_PER_KIND: Final = 1000


class Finding(NamedTuple):
    """One violation: what is wrong, the delivery or root concerned, and what was seen."""

    kind: Kind
    concerns: str
    detail: str

    @property
    def statement(self) -> int:
        """From 1."""
        return _STATEMENT_OF[self.kind]


@dataclass(slots=True, kw_only=True)
class Report:
    """The verdict on a run. Prints as a small table."""

    requests: int = 0
    """Lines of the ledgers."""
    acknowledged: int = 0
    rows: int = 0
    repeats: int = 0
    """Records of Kafka that repeat a position; no violation."""
    counts: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    """At most a thousand of each kind; `counts` has them all."""

    def add(self, findings: Iterable[Finding]) -> None:
        """Take `findings` in."""
        for finding in findings:
            self.counts[finding.kind] += 1
            if self.counts[finding.kind] <= _KEPT_PER_KIND:
                self.findings.append(finding)

    @property
    def ok(self) -> bool:
        return not self.counts

    @property
    def violated(self) -> list[int]:
        """The statements that do not hold, from 1."""
        return sorted({_STATEMENT_OF[kind] for kind in self.counts})

    @property
    def lost(self) -> int:
        return self.counts["lost"]

    @property
    def doubled(self) -> int:
        return self.counts["doubled"]

    @property
    def gaps(self) -> int:
        return self.counts["gap"]

    @property
    def unread(self) -> int:
        return self.counts["unread"]

    @property
    def wrong_states(self) -> int:
        return self.counts["wrong state"]

    @property
    def missing_events(self) -> int:
        return self.counts["missing event"]

    @property
    def doubled_events(self) -> int:
        return self.counts["doubled event"]

    @property
    def mistyped_events(self) -> int:
        return self.counts["mistyped event"]

    @property
    def reordered_roots(self) -> int:
        return self.counts["reordered"]

    @property
    def strangers(self) -> int:
        return self.counts["stranger"]

    def __rich__(self) -> RenderableType:
        counts = Table(
            title="the promises hold" if self.ok else "VIOLATED", title_justify="left", show_header=False
        )
        numbers = {
            "requests": self.requests,
            "acknowledged": self.acknowledged,
            "rows": self.rows,
            "lost": self.lost,
            "doubled": self.doubled,
            "gaps": self.gaps,
            "neither read nor shown missing": self.unread,
            "wrong states": self.wrong_states,
            "missing events": self.missing_events,
            "doubled events": self.doubled_events,
            "mistyped events": self.mistyped_events,
            "reordered roots": self.reordered_roots,
            "strangers downstream": self.strangers,
            "repeats, dropped": self.repeats,
        }
        for name, number in numbers.items():
            counts.add_row(name, str(number))
        return Group(counts, *map(self._statement, self.violated))

    def __str__(self) -> str:
        console = Console(file=StringIO(), width=160, color_system=None)
        console.print(self)
        assert isinstance(console.file, StringIO)
        return console.file.getvalue()

    def _statement(self, number: int) -> RenderableType:
        concerned = [finding for finding in self.findings if finding.statement == number]
        count = sum(found for kind, found in self.counts.items() if _STATEMENT_OF[kind] == number)
        lines = [f"{number}. {STATEMENTS[number - 1]}: {count} violations"]
        lines += [
            f"   {finding.kind}: {finding.concerns}: {finding.detail}"
            for finding in concerned[:_SHOWN_PER_STATEMENT]
        ]
        if count > _SHOWN_PER_STATEMENT:
            lines.append(f"   … and {count - _SHOWN_PER_STATEMENT} more")
        return Text("\n".join(lines))
