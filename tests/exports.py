"""A log of made-up deliveries of all four providers, exports of it, and what is in their files."""

import asyncio
import datetime as dt
import hashlib
import os
import signal
import sys
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import asyncpg
import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from projections.delivery import Delivery
from projections.facts import Reading, Unreadable
from projections.providers import root_of
from projections.states import State
from service.eventlog.deliveries import NewDelivery
from service.export.export import Export, Exported, Options
from service.export.log import Logged, PostgresLog
from service.exported.columns import STATES, states_of_table
from service.exported.directory import Directory
from service.exported.manifest import Layout
from service.postgres import connect
from service.simulation import scenarios
from service.simulation.mixing import Delivery as Told
from service.simulation.mixing import Mixture
from tests.deliveries import new_delivery

KEY = "the payer key of the tests"
READING = Reading(payer_key=KEY.encode())
LAYOUT = Layout(buckets=3, range_positions=100)
"""Joined at 400 positions, and at 1,600."""
CONFIG = """
[sources.shop]
provider = "admin"
checks = "none"

[fold]
payer_key = "env:TEST_PAYER_KEY"
"""
PROVIDERS = ("admin", "aprovei", "barte", "gen")
MIXTURE = Mixture(duplicates=0.1, reordered=0.1, unknown=0.02)


def deliveries(count: int, seed: int = 1) -> list[NewDelivery]:
    """The first `count` of the endless stream of that seed."""
    return [_row(*delivery[:4]) for delivery in islice(stream(seed), count)]


def _row(source: str, body: bytes, kind: str | None, instant: int) -> NewDelivery:
    try:
        root = root_of(source, "shop", orjson.loads(body), kind)
    except Unreadable:
        root = None
    return new_delivery(
        body,
        source=source,
        provider=source,
        kind=kind,
        root=root,
        remote_ip="203.0.113.77",
        received_at=dt.datetime.fromtimestamp(instant // 1_000_000_000, dt.UTC),
    )


def stream(seed: int = 1) -> Iterator[Told]:
    """The endless stream of that seed."""
    return scenarios.deliveries(seed, [(name, name) for name in PROVIDERS], MIXTURE)


class MadeUpLog:
    """A log of the first `count` of some deliveries that is in no database, for the export to read."""

    name = "main"

    def __init__(self, count: int, told: Iterator[Told] | None = None) -> None:
        self._stream = told or stream()
        self._count = count
        self._held: deque[Logged] = deque()
        self._recorded_at = array("q", [0])
        """By position; 0 stands before the first."""

    async def lock(self, _place: str) -> bool:
        return True

    async def last(self) -> int:
        return self._count

    async def recorded_at(self, position: int) -> int | None:
        while len(self._recorded_at) <= position:
            self._held.append(self._read())
        return self._recorded_at[position]

    async def page(self, after: int, up_to: int) -> Sequence[Logged]:
        """The next ones: it can only be read through, once."""
        wanted = range(after + 1, min(after + 2_000, up_to) + 1)
        page: list[Logged] = []
        while len(page) < len(wanted):
            logged = self._held.popleft() if self._held else self._read()
            page += [logged] if logged.delivery.position in wanted else []
        return page

    async def at(self, _positions: Sequence[int]) -> Sequence[Delivery]:
        return []

    def _read(self) -> Logged:
        source, body, kind, instant, _ = next(self._stream)
        position = len(self._recorded_at)
        # A second after it happened, and later than the one before.
        recorded_at = max(instant // 1000 * 1000 + 1_000_000_000, self._recorded_at[-1] + 1000)
        self._recorded_at.append(recorded_at)
        delivery = Delivery(
            position=position, source=source, account="shop", provider=source, root=None, kind=kind,
            trust="none", received_at=recorded_at, recorded_at=recorded_at, body=body,
        )  # fmt: skip
        return Logged(delivery, "203.0.113.77", "{}", hashlib.sha256(body).digest())


async def export_made_up(
    count: int,
    folder: Path | str,
    layout: Layout = LAYOUT,
    told: Iterator[Told] | None = None,
    **options: object,
) -> Exported:
    """Export a made-up log of `count` deliveries, of the stream or as `told`: no database, no Kafka."""
    run = Export(
        log=MadeUpLog(count, told),
        folder=Directory(str(folder)),
        reading=READING,
        options=Options(**({"layout": layout} | options)),  # type: ignore[arg-type]
    )
    return await run.run()


async def export(
    database_url: str, folder: Path, *, reading: Reading = READING, **options: object
) -> Exported:
    """Export what is new to `folder`, in this process."""
    connection = await connect(database_url, application="export")
    try:
        run = Export(
            log=PostgresLog(connection, "main"),
            folder=Directory(str(folder)),
            reading=reading,
            options=Options(**({"layout": LAYOUT} | options)),  # type: ignore[arg-type]
        )
        return await run.run()
    finally:
        await connection.close()


async def export_until_killed(database_url: str, folder: Path, crashpoint: str, config: Path) -> None:
    """`recibo export` as a process that dies at `crashpoint`."""
    code, output = await recibo(
        database_url, config, "export", str(folder), "--processes", "1",
        "--buckets", str(LAYOUT.buckets), "--range-positions", str(LAYOUT.range_positions),
        crashpoint=crashpoint,
    )  # fmt: skip
    assert code == -signal.SIGKILL, output


async def recibo(database_url: str, config: Path, *words: str, crashpoint: str = "") -> tuple[int, str]:
    """What the command `recibo WORDS` ends with and prints."""
    process = await started(database_url, config, *words, crashpoint=crashpoint)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def started(
    database_url: str, config: Path, *words: str, crashpoint: str = ""
) -> asyncio.subprocess.Process:
    """The command `recibo WORDS`; what it prints is to be read."""
    environment = os.environ | {
        "RECIBO_DATABASE_URL": database_url,
        "RECIBO_KAFKA_BOOTSTRAP": "localhost:1",
        "RECIBO_CONFIG": str(config),
        "RECIBO_CRASHPOINT": crashpoint,
        "TEST_PAYER_KEY": KEY,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "service", *words,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` by its name there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def states_in(folder: Path) -> dict[str, list[bytes]]:
    """Table → every state in the files of `folder`, as `msgspec.json.encode` gives it, sorted."""
    return {table: sorted(map(msgspec.json.encode, _states(folder, table))) for table in STATES}


def _states(folder: Path, table: str) -> Iterator[State]:
    for path in sorted((folder / table).rglob("*.parquet")):
        yield from states_of_table(table, pq.ParquetFile(path).read())


async def live_states(database_url: str) -> dict[str, list[bytes]]:
    """The same, of the live tables."""
    owner = await asyncpg.connect(database_url)
    found = {
        table: sorted(
            [msgspec.json.encode(_live(kind, row)) for row in await owner.fetch(f"select * from {table}")]
        )
        for table, (kind, _) in STATES.items()
    }
    await owner.close()
    return found


def _live(kind: type[State], row: asyncpg.Record) -> State:
    members = dict(row)
    for name in ("flags", "history", "payments"):
        if members.get(name) is not None:
            members[name] = orjson.loads(members[name])
    hashes = {name: members.pop(f"payer_{name}", None) for name in ("document", "email", "phone")}
    members["payer"] = hashes if any(hashes.values()) else None
    return msgspec.convert(members, kind)


def values(folder: Path) -> Iterator[tuple[str, str]]:
    """Every column of every file below `folder`: its name, and its values as one text."""
    for path in sorted(folder.rglob("*.parquet")):
        rows = pq.ParquetFile(path).read()
        for name in rows.column_names:
            yield f"{path.relative_to(folder)}: {name}", "\n".join(_texts(rows[name]))


def _texts(column: pa.ChunkedArray) -> Iterator[str]:
    if pa.types.is_list(column.type):
        yield from _texts(pa.chunked_array([column.combine_chunks().flatten()]))
    elif pa.types.is_struct(column.type):
        for part in column.combine_chunks().flatten():
            yield from _texts(pa.chunked_array([part]))
    elif pa.types.is_binary(column.type) or pa.types.is_fixed_size_binary(column.type):
        yield from (value.decode("utf-8", "replace") for value in column.to_pylist() if value)
    else:
        yield from (text for text in column.cast(pa.string()).to_pylist() if text)
