"""What was sent and answered against what the log holds: statements 1, 2, 3 and the senders of 7.

Pure. Fed line by line and row by row; keeps a tally per body, never a body.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from tests.checker.report import Finding

_KIND: Final = re.compile(r"[a-z_]{1,32}", re.ASCII)
_RECEIPT: Final = re.compile(r"(.+)-(\d+)", re.ASCII)
_OPERATOR: Final = "operator"
_REFUSED: Final = "refused"
"""In receipts: kept beside the log, which cannot hold it."""


class Request(NamedTuple):
    """A line of the ledger."""

    source: str
    kind: str | None
    body_sha256: bytes
    status: int | None
    receipt: str | None

    @property
    def acknowledged(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def refused(self) -> bool:
        """Whether the answer says that the delivery was not kept: such a request can leave no row."""
        return self.status is not None and 400 <= self.status < 500


class Entry(NamedTuple):
    """A row of the log, as far as the accounts go."""

    position: int
    source: str
    kind: str | None
    provider: str
    body_sha256: bytes
    """Of the bytes that are there, not the column's word for it."""


@dataclass(slots=True)
class _Tally:
    sent: int = 0
    refused: int = 0
    acknowledged: int = 0
    unknown: int = 0
    rows: int = 0
    endpoints: tuple[tuple[str, str | None], ...] = ()
    first_row: int = 0


class Accounts:
    """A tally per body."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._tallies: dict[bytes, _Tally] = {}
        self._endpoints: dict[tuple[tuple[str, str | None], ...], tuple[tuple[str, str | None], ...]] = {}
        self._receipts: dict[int, bytes] = {}
        self._receipts_of_refused: dict[int, bytes] = {}
        self._strangers: list[Entry] = []
        self._receipts_twice: list[str] = []
        self.requests = 0
        self.acknowledged = 0
        self.rows = 0

    def request(self, request: Request) -> None:
        """Enter a line of the ledger. All of them come before the first row."""
        self.requests += 1
        tally = self._tallies.setdefault(request.body_sha256, _Tally())
        tally.sent += 1
        tally.refused += request.refused
        endpoint = (request.source, _kind(request.kind))
        if endpoint not in tally.endpoints:
            grown = (*tally.endpoints, endpoint)
            # One tuple for all that have the same ones.
            tally.endpoints = self._endpoints.setdefault(grown, grown)
        if request.acknowledged:
            self.acknowledged += 1
            tally.acknowledged += 1
            self._receipt(request)

    def outcome_unknown(self, body_sha256: bytes) -> None:
        """Enter an append or spill of which the ingress does not know whether it is there."""
        self._tallies.setdefault(body_sha256, _Tally()).unknown += 1

    def refused_row(self, entry: Entry) -> None:
        """Enter a row of those that the log cannot hold; its position is its number."""
        self._enter(entry, self._receipts_of_refused)

    def row(self, entry: Entry) -> None:
        """Enter a row of the log."""
        self.rows += 1
        self._enter(entry, self._receipts)

    def _enter(self, entry: Entry, receipts: dict[int, bytes]) -> None:
        if entry.source == _OPERATOR and entry.provider == _OPERATOR:
            return
        tally = self._tallies.get(entry.body_sha256)
        if tally is None or (entry.source, entry.kind) not in tally.endpoints:
            self._strangers.append(entry)
            return
        tally.rows += 1
        tally.first_row = tally.first_row or entry.position
        # A receipt that names a position names this very body.
        if receipts.get(entry.position) == entry.body_sha256:
            del receipts[entry.position]

    def findings(self) -> Iterator[Finding]:
        """What does not add up, once all is entered."""
        for digest, tally in self._tallies.items():
            body = f"body {digest.hex()}"
            if tally.acknowledged > tally.rows:
                yield Finding("lost", body, f"{tally.acknowledged} receipts, {tally.rows} rows")
            allowed = tally.sent - tally.refused + tally.unknown
            if tally.rows > allowed:
                yield Finding(
                    "doubled",
                    body,
                    f"{tally.rows} rows from position {tally.first_row} on, {tally.sent} requests of which "
                    f"{tally.refused} were refused, {tally.unknown} unknown outcomes",
                )
        for place, receipts in ((self._log, self._receipts), (_REFUSED, self._receipts_of_refused)):
            for position, digest in receipts.items():
                yield Finding("lost", f"receipt {place}-{position}", f"no row there of body {digest.hex()}")
        for receipt in self._receipts_twice:
            yield Finding("lost", f"receipt {receipt}", "given to two deliveries")
        for entry in self._strangers:
            yield Finding(
                "stranger", f"delivery {self._log}-{entry.position}", f"no request to {entry.source} sent it"
            )

    def _receipt(self, request: Request) -> None:
        found = _RECEIPT.fullmatch(request.receipt or "")
        # A spilled delivery's position is known to nobody yet: its body alone must be there.
        if found is None or found[1] not in {self._log, _REFUSED}:
            return
        receipts = self._receipts if found[1] == self._log else self._receipts_of_refused
        position = int(found[2])
        if position in receipts:
            self._receipts_twice.append(f"{found[1]}-{position}")
        receipts[position] = request.body_sha256


def gaps(name: str, positions: Iterable[int], *, head: int | None = None) -> Iterator[Finding]:
    """Where `positions`, in order, are not dense; `head` is what the head row calls the last one."""
    first = last = None
    for position in positions:
        if last is None:
            first = position
        elif position != last + 1:
            yield _gap(name, last + 1, position - 1)
        last = position
    if head is not None and head != (last or 0):
        yield Finding("gap", f"{name} log", f"its head is at {head}, its last row at {last or 0}")
    if first is not None and first != 1:
        yield _gap(name, 1, first - 1)


def _gap(name: str, first: int, last: int) -> Finding:
    return Finding("gap", f"{name} {first} to {last}", f"{last - first + 1} positions without a row")


def _kind(marker: str | None) -> str | None:
    return marker if marker is not None and _KIND.fullmatch(marker) else None
