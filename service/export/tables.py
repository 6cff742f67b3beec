"""What a range of the log becomes: rows of `log`, of `facts` and of `quarantine`. No I/O but the files.

In: deliveries with all that is kept of them. Out: files. What is not personal is as it is in the log;
the rest is left out, or stands as a keyed hash, unless personal data were asked for.
"""

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from projections.delivery import Delivery, routing_key
from projections.facts import Fact, Reading
from projections.fold import interpret_each
from service.export.log import Logged
from service.exported import columns
from service.exported.columns import Stated, arrival
from service.exported.directory import Directory
from service.exported.manifest import FACTS, LOG, QUARANTINE, File, Manifest
from service.exported.writing import FileWriter, by_bucket
from service.readmodels.apply import reason_of

_BYTES_MAX: Final = 67_108_864
"""Of rows that wait in memory; beyond it a range has more files."""
_HASH_BYTES: Final = 16


class RangeTables:
    """The rows of one range, written whenever enough of them wait."""

    def __init__(self, folder: Directory, manifest: Manifest, reading: Reading, *, first: int) -> None:
        self._folder = folder
        self._manifest = manifest
        self._reading = reading
        self._first = first
        self._last = first - 1
        self._waiting: dict[str, list[pa.Table]] = {LOG: [], FACTS: [], QUARANTINE: []}
        self._bytes = 0
        self.files: list[File] = []
        self.facts = 0
        self.quarantined = 0

    def add(self, page: Sequence[Logged]) -> None:
        """Take the next deliveries of the range."""
        facts, unread = [], []
        told = read([logged.delivery for logged in page], self._reading)
        for logged, fact in zip(page, told, strict=True):
            if isinstance(fact, Fact):
                facts.append(Stated(logged.delivery, fact))
            else:
                unread.append((*arrival(logged.delivery), *_unread(logged, reason_of(fact))))
        self._wait(LOG, columns.table_of(map(self._log_row, page), self._columns(LOG)))
        if facts:
            self._wait(FACTS, columns.facts_table(facts))
        if unread:
            self._wait(QUARANTINE, columns.table_of(unread, self._columns(QUARANTINE)))
        self.facts += len(facts)
        self.quarantined += len(unread)
        self._last = page[-1].delivery.position
        if self._bytes > _BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for table in (LOG, FACTS):
            if waiting := self._waiting[table]:
                for bucket, rows in by_bucket(pa.concat_tables(waiting), self._manifest.layout.buckets):
                    self._write(table, bucket, rows)
        if waiting := self._waiting[QUARANTINE]:
            self._write(QUARANTINE, None, pa.concat_tables(waiting))
        self._waiting = {LOG: [], FACTS: [], QUARANTINE: []}
        self._bytes = 0
        self._first = self._last + 1

    def _wait(self, table: str, rows: pa.Table) -> None:
        self._waiting[table].append(rows)
        self._bytes += rows.nbytes

    def _write(self, table: str, bucket: int | None, rows: pa.Table) -> None:
        writer = FileWriter(self._folder, self._manifest.origin, table, self._columns(table))
        writer.add(rows)
        self.files.append(writer.write(bucket=bucket, first=self._first, last=self._last))

    def _columns(self, table: str) -> pa.Schema:
        return columns.schema(table, personal_data=self._manifest.origin.personal_data)

    def _log_row(self, logged: Logged) -> tuple[object, ...]:
        delivery = logged.delivery
        row = (
            *arrival(delivery),
            delivery.provider,
            delivery.kind,
            delivery.root,
            columns.root_hash(routing_key(delivery.root, delivery.position)),
            delivery.trust,
            len(delivery.body),
            self._hash(logged.body_sha256),
            None if logged.remote_ip is None else self._hash(logged.remote_ip.encode()),
        )
        if not self._manifest.origin.personal_data:
            return row
        return *row, logged.remote_ip, logged.headers, delivery.body, logged.body_sha256

    def _hash(self, value: bytes) -> str | None:
        # Keyed: who knows the rest of a body could otherwise try all documents against its digest.
        key = self._reading.payer_key
        return None if key is None else hmac.digest(key, value, hashlib.sha256)[:_HASH_BYTES].hex()


def read(deliveries: Sequence[Delivery], reading: Reading) -> list[Fact | Exception]:
    """What each of `deliveries` says by today's code; in its place what was raised where that cannot be told.

    As in a rebuild, one that is readable now counts, although it may still wait in the live quarantine, and
    an adapter's fault keeps aside what it fails on and nothing else.
    """
    return interpret_each(deliveries, reading, retrying=True)


def _unread(logged: Logged, reason: str) -> tuple[object, ...]:
    return logged.delivery.provider, logged.delivery.kind, logged.delivery.root, reason
