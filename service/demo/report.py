"""What a newcomer wants to see of a demo, as things that rich can print. Pure: found values in, text out.

No secret is among it but the token in the line to paste.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from projections.events import version_text
from service.demo.chapters import GENERATION, Chapter
from service.demo.found import Aggregate, Found
from service.demo.place import Place
from service.demo.script import CURL_BODY, CURL_SOURCE
from service.demo.verdict import Exchange

_KINDS: Final[Mapping[str, str]] = {
    "order": "Orders",
    "dispute": "Disputes",
    "withdrawal": "Withdrawals",
    "subscription": "Subscriptions",
    "cart": "Carts",
}
_WITH_AMOUNTS: Final = frozenset({"order", "withdrawal", "cart"})
_EVENTS: Final = "Domain events, as read back from Kafka: in order per root, each @ its number of facts"


def parts(
    script: Sequence[Chapter], exchanges: Sequence[Exchange], decisions: Mapping[str, str], found: Found
) -> Iterator[RenderableType]:
    """Receipts and refusals, states, events; `decisions` by receipt."""
    yield _receipts(exchanges)
    yield Text("\n".join(_remarks(exchanges, decisions, found)))
    for kind, title in _KINDS.items():
        yield _states(kind, title, script, found)
    yield Text(_EVENTS, "bold")
    yield from _events(script, found)


def verdict(missing: Sequence[str]) -> Text:
    """What did not happen as promised, if anything."""
    if not missing:
        return Text("Everything happened as the script promises, and nothing beside it.\n", "bold green")
    return Text.assemble(
        ("What did not happen as promised:\n", "bold red"), "".join(f"  {line}\n" for line in missing)
    )


def address(place: Place) -> str:
    """Where to send to, with a line to paste, and how another terminal joins in."""
    url = f"{place.url}/webhooks/{CURL_SOURCE}?token={place.token_of(CURL_SOURCE)}"
    recibo = _short(Path(sys.executable).with_name("recibo"))
    return (
        f"The ingress answers at {place.url}. Send it an order of your own:\n\n"
        f"  curl -sS '{url}' -H 'Content-Type: application/json' -d '{CURL_BODY}'\n\n"
        "and in another terminal see how far it got:\n\n"
        f"  . {_short(place.joining)} && {recibo} status && {recibo} quarantine list\n"
    )


def _receipts(exchanges: Sequence[Exchange]) -> Table:
    table = _table("Receipts and refusals", "sent", "of them again", "late", "receipts", "refused")
    for source in sorted({exchange.delivery.source for exchange in exchanges}):
        of_source = [exchange for exchange in exchanges if exchange.delivery.source == source]
        mutations = Counter(exchange.delivery.mutation for exchange in of_source)
        counts = (
            len(of_source),
            mutations["duplicate"],
            mutations["late"],
            sum(exchange.accepted for exchange in of_source),
            sum(exchange.refused for exchange in of_source),
        )
        table.add_row(source, *map(str, counts))
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _remarks(exchanges: Sequence[Exchange], decisions: Mapping[str, str], found: Found) -> Iterator[str]:
    for delivery, answer in exchanges:
        if delivery.mutation == "forged":
            yield f"{delivery.source}: a forged secret was answered with {answer.status}, and nothing stored"
    for receipt, reason in found.quarantined.items():
        yield f"{receipt}: kept, in quarantine until the code can read it ({reason})"
    for receipt, decision in decisions.items():
        yield f"{receipt}: an operator decided, {decision}"


def _states(kind: str, title: str, script: Sequence[Chapter], found: Found) -> Table:
    places = {chapter.root: number for number, chapter in enumerate(script)}
    titles = {chapter.root: chapter.title for chapter in script}
    has_amounts = kind in _WITH_AMOUNTS
    table = _table(title, "status", *(["BRL"] if has_amounts else []), "version")
    rows = [aggregate for aggregate in found.aggregates if aggregate.kind == kind]
    for one in sorted(rows, key=lambda one: (places.get(one.root, len(places)), one.ordinal)):
        table.add_row(
            _named(one, titles.get(one.root, ""), found.recoveries),
            one.state.status,
            *([_amounts(one)] if has_amounts else []),
            version_text(GENERATION, one.facts),
        )
    if has_amounts:
        table.columns[2].justify = "right"
    return table


def _named(one: Aggregate, title: str, recoveries: Mapping[str, str]) -> RenderableType:
    lines = [Text(title), Text(f"{one.root}/{one.ordinal}" if one.ordinal else one.root, "dim")]
    lines += [Text(f"! {flag}", "yellow") for flag in one.state.flags]
    lines += [Text(f"recovered by {sale}", "green") for sale, cart in recoveries.items() if cart == one.root]
    return Group(*lines)


def _amounts(one: Aggregate) -> str:
    back = one.state.refunded_cents
    return _money(one.state.cents) + ("" if back is None else f"\n{_money(back)} back")


def _money(cents: int | None) -> str:
    return "unknown" if cents is None else f"{cents // 100:,}.{cents % 100:02}"


def _events(script: Sequence[Chapter], found: Found) -> Iterator[RenderableType]:
    for chapter in script:
        told = [event for event in found.events if event.root == chapter.root]
        if told:
            steps = (f"{event.type}@{int(event.version.partition('.')[2])}" for event in told)
            yield Text(chapter.root or "", "dim")
            yield Padding(Text("  ".join(steps)), (0, 0, 0, 4), expand=False)


def _short(path: Path) -> str:
    return min(str(path), os.path.relpath(path), key=len)


def _table(*columns: str) -> Table:
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
    return table
