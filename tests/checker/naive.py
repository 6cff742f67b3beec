"""Rows of the log → the states they amount to, and which of them cannot be read.

Everything is derived anew from the set of facts; nothing is kept from one question to the next.
"""

from collections.abc import Iterable
from dataclasses import replace
from zoneinfo import ZoneInfo

from tests.checker.facts import Fact, Reading, Row
from tests.checker.fold import State, States, fold
from tests.checker.reading import read
from tests.checker.values import Unreadable

SAO_PAULO = "America/Sao_Paulo"
_PAYER = ("payer_document", "payer_email", "payer_phone")


def naive_states(
    rows: Iterable[Row], *, barte_zone: str = SAO_PAULO, payer_key: bytes | None = None
) -> dict[str, States]:
    """Root → state table → rows, keyed as the table's columns are.

    With a payer key the payer's columns are left out: how a value is normalised is nowhere fixed.
    """
    reading = Reading(zone=ZoneInfo(barte_zone), payer_key=payer_key)
    known: dict[str, dict[str, Fact]] = {}
    for row in rows:
        try:
            fact = read(row, reading)
        except Unreadable:
            continue
        join(known.setdefault(fact.root, {}), fact)
    return {root: comparable(fold(root, facts.values()), payer_key) for root, facts in known.items()}


def unreadable(rows: Iterable[Row], *, barte_zone: str = SAO_PAULO) -> set[int]:
    """The positions of the rows that nothing can be read from."""
    reading = Reading(zone=ZoneInfo(barte_zone), payer_key=None)
    return {row.position for row in rows if not _is_readable(row, reading)}


def join(facts: dict[str, Fact], fact: Fact) -> bool:
    """Add `fact` to those of its root; whether it is a new one."""
    same = facts.get(fact.identity)
    if same is None:
        facts[fact.identity] = fact
        return True
    # One without any date is as old as its earliest row.
    facts[fact.identity] = replace(same, when=min(same.when, fact.when))
    return False


def comparable(states: States, payer_key: bytes | None) -> States:
    """The states without what cannot be compared."""
    if payer_key is None:
        return states
    return {table: [_without_payer(row) for row in rows] for table, rows in states.items()}


def _without_payer(row: State) -> State:
    return {name: value for name, value in row.items() if name not in _PAYER}


def _is_readable(row: Row, reading: Reading) -> bool:
    try:
        read(row, reading)
    except Unreadable:
        return False
    return True
