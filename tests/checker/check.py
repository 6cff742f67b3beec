"""Did a quiet system keep its promises? The seven statements of the design's "Trying it on faults".

In: the ledgers, the ingress's log lines, the database, the topics. Out: a Report, with the deliveries
and roots of every statement that does not hold. Imports nothing of `service` or `projections`; the
statements are pure and have files of their own, this one only feeds them.

Memory holds the deliveries packed, a tally per body and a digest per row, and is given back stage by
stage; facts and states live as long as their root is looked at. What a swap tells of by
--publish-amendments is not known here.
"""

import datetime as dt
import hashlib
import zlib
from array import array
from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import asyncpg

from tests.checker import live, stores
from tests.checker.accounts import Accounts, Entry, gaps
from tests.checker.events import folding, generation_at, quarantined
from tests.checker.facts import Fact, Reading, Row
from tests.checker.live import Live
from tests.checker.naive import SAO_PAULO, comparable, join
from tests.checker.outbox import Event, Outbox
from tests.checker.passage import Passage, Place, Record
from tests.checker.reading import read
from tests.checker.report import Report
from tests.checker.stores import Connection
from tests.checker.topics import COMPACTED, EVENTS, RAW, Broker, Message, partition
from tests.checker.values import Unreadable

_MARKER: Final = b"record.too_large"


async def check(
    *,
    database_url: str,
    bootstrap: str,
    prefix: str,
    log: str,
    ledgers: Sequence[Path],
    logs: Sequence[Path],
    payer_key: bytes | None,
    barte_zone: str = SAO_PAULO,
    parks: Set[str] = frozenset(),
) -> Report:
    """The verdict on a system that has come to rest.

    The roots `parks` are parked, and no other; what does not wait with them is folded like the rest.
    """
    reading = Reading(zone=ZoneInfo(barte_zone), payer_key=payer_key)
    connection = await asyncpg.connect(database_url)
    try:
        return await _Check(connection, Broker(bootstrap, prefix), log, reading, parks).run(ledgers, logs)
    finally:
        await connection.close()


class _Check:
    def __init__(
        self, connection: Connection, broker: Broker, log: str, reading: Reading, parks: Set[str]
    ) -> None:
        self._connection = connection
        self._broker = broker
        self._log = log
        self._reading = reading
        self._parks = parks
        self._parked: dict[str, stores.Parked] = {}
        self._report = Report()
        self._rows: dict[str, list[Row]] = {}
        """By root; their bodies compressed."""
        self._unreadable: set[int] = set()
        self._outbox = Outbox()
        self._live = Live(leave_out=live.PAYER if reading.payer_key is not None else frozenset())

    async def run(self, ledgers: Sequence[Path], logs: Sequence[Path]) -> Report:
        self._parked = await stores.parked(self._connection, self._log)
        await self._deliveries(ledgers, logs)
        await self._fold()
        await self._states()
        await self._events()
        return self._report

    async def _deliveries(self, ledgers: Sequence[Path], logs: Sequence[Path]) -> None:
        accounts = Accounts(self._log)
        for ledger in ledgers:
            for request in stores.requests(ledger):
                accounts.request(request)
        for log_file in logs:
            for digest in stores.unknown_outcomes(log_file):
                accounts.outcome_unknown(digest)
        raw, positions = Passage("delivery"), array("q")
        count = (await self._broker.partitions([RAW])).get(RAW, 0)
        async for row in stores.deliveries(self._connection):
            digest = hashlib.sha256(row.body).digest()
            accounts.row(Entry(row.position, row.source, row.kind, row.provider, digest))
            positions.append(row.position)
            key = row.root or f"?{row.position}"
            raw.row(row.position, (RAW, partition(key, count)), _row_mark(key, row, digest), name=key)
            self._keep(row)
        for found in await stores.refused(self._connection):
            number, source, kind, provider, digest = found
            accounts.refused_row(Entry(number, source, kind, provider, digest))
        heads = await stores.heads(self._connection)
        self._report.requests = accounts.requests
        self._report.acknowledged = accounts.acknowledged
        self._report.rows = accounts.rows
        self._report.add(accounts.findings())
        self._report.add(gaps("delivery", positions, head=heads["deliveries"]))
        await self._passage(raw, [RAW], "deliveries")

    def _keep(self, row: Row) -> None:
        if row.root is None:
            # Nothing can be read from it, whatever it says.
            self._set_aside(row)
        elif not self._waits(row):
            packed = replace(row, body=zlib.compress(row.body, 1))
            self._rows.setdefault(row.root, []).append(packed)

    def _waits(self, row: Row) -> bool:
        """Whether the delivery waits with a root that is parked as expected."""
        waiting = self._parked.get(row.root or "") if row.root in self._parks else None
        return waiting is not None and row.position in waiting.positions

    def _set_aside(self, row: Row) -> None:
        self._unreadable.add(row.position)
        self._outbox.expect(quarantined(self._log, row.position, row.root))

    def _facts(self, rows: Sequence[Row]) -> tuple[list[Fact], list[int]]:
        """The distinct facts of one root in log order, and the position of each."""
        facts: dict[str, Fact] = {}
        positions: list[int] = []
        for packed in rows:
            try:
                fact = read(replace(packed, body=zlib.decompress(packed.body)), self._reading)
            except Unreadable:
                self._set_aside(packed)
            else:
                if join(facts, fact):
                    positions.append(packed.position)
        return list(facts.values()), positions

    async def _fold(self) -> None:
        swaps = await stores.generations(self._connection)
        count = (await self._broker.partitions([RAW])).get(RAW, 0)
        while self._rows:
            root, rows = self._rows.popitem()
            facts, positions = self._facts(rows)
            generations = [generation_at(position, partition(root, count), swaps) for position in positions]
            records, states = folding(root, facts, generations)
            for record in records:
                self._outbox.expect(record)
            self._live.expect(root, comparable(states, self._reading.payer_key))

    async def _states(self) -> None:
        for table in stores.STATE_TABLES:
            async for row in stores.states(self._connection, table):
                self._live.row(table, row)
        self._report.add(self._live.findings())
        in_quarantine = await stores.quarantined(self._connection, self._log)
        self._report.add(live.quarantined(self._log, self._unreadable, in_quarantine))
        reasons = {root: waiting.reason for root, waiting in self._parked.items()}
        self._report.add(live.parked(self._parks, reasons))

    async def _events(self) -> None:
        passage, positions = Passage("event"), array("q")
        counts = await self._broker.partitions(EVENTS)
        async for row in stores.events(self._connection):
            positions.append(row.position)
            self._outbox.event(
                Event(row.position, row.event_id, row.event_type, row.topic, row.key, row.partition_key)
            )
            passage.row(
                row.position,
                (row.topic, partition(row.partition_key, counts.get(row.topic, 0))),
                _mark(row.topic, row.key, row.event_id, row.event_type, row.value_sha256),
                name=row.event_id,
                key=row.key if row.topic in COMPACTED else None,
            )
        heads = await stores.heads(self._connection)
        self._report.add(self._outbox.findings())
        self._report.add(gaps("event", positions, head=heads["events"]))
        await self._passage(passage, EVENTS, "events")

    async def _passage(self, passage: Passage, topics: Sequence[str], stream: str) -> None:
        async for message in self._broker.read(topics):
            self._message(passage, message)
        self._report.add(passage.findings(await self._broker.checkpoint(f"{self._log}/{stream}")))
        self._report.repeats += passage.repeats

    def _message(self, passage: Passage, message: Message) -> None:
        place = (message.topic, message.partition)
        try:
            # Several logs may share the topics.
            if message.headers["log"].decode() == self._log:
                passage.record(_record(place, message))
        except (KeyError, ValueError):
            passage.foreign(place, message.offset)


def _record(place: Place, message: Message) -> Record:
    prev = message.headers.get("prev")
    return Record(
        place,
        int(message.headers["position"]),
        None if prev is None else int(prev),
        _message_mark(message),
    )


def _message_mark(message: Message) -> bytes | None:
    if message.headers["ce_type"] == _MARKER and message.topic not in COMPACTED:
        return None
    return _raw_mark(message) if message.topic == RAW else _event_mark(message)


def _row_mark(key: str, row: Row, digest: bytes) -> bytes:
    return _mark(key, row.source, row.account, row.provider, row.kind, row.recorded_at, digest)


def _raw_mark(message: Message) -> bytes:
    told = {name: value.decode() for name, value in message.headers.items()}
    return _mark(
        (message.key or b"").decode(),
        told["source"],
        told["account"],
        told["provider"],
        told.get("kind"),
        stores.nanoseconds(dt.datetime.fromisoformat(told["recorded_at"])),
        hashlib.sha256(message.value or b"").digest(),
    )


def _event_mark(message: Message) -> bytes:
    value = message.value
    return _mark(
        message.topic,
        (message.key or b"").decode(),
        message.headers["ce_id"].decode(),
        message.headers["ce_type"].decode(),
        None if value is None else hashlib.sha256(value).digest(),
    )


def _mark(*members: object) -> bytes:
    return hashlib.blake2b(repr(members).encode(), digest_size=12).digest()
