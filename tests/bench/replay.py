"""Rebuilding all states, from Postgres and from an export: how fast, and in how much memory.

`make bench NAME=replay`. BENCH_ROWS names the log's lengths, `1000000,10000000` by default (two hours and
30 GB for both); BENCH_PROCESSES how many processes rebuild, BENCH_ROUNDS how often. Each log is made by the
generator, of all four providers, rebuilt and exported as the command line does it. Prints one JSON object
per line; what counts are the ratios. A machine's own speed can double within minutes, so rounds and anchors
take turns, each round is held against the anchors just before and after it, and of the rounds the median
counts.

- `per_second`: deliveries; of a rebuild with the states written and indexed. The export's replay holds its
  states against the exported ones (`parquet`), or writes them as Parquet as well (`parquet_into`).
- `peak_mb`: resident memory of all processes of the command together, the highest of all rounds.
- `ratio_to_plain_read`: to what asyncpg reads of the same rows in the plain loop of its own documentation,
  `async for row in connection.cursor(...)` on asyncio's own event loop. `of_each_round`: round by round.
- `ratio_to_paged_read`: the same, to the fastest reading that we know: pages of 2,000, on uvloop.
- `ratio_to_json_parse`: to what `orjson.loads` alone makes of the same bodies in one process.
- `ratio_to_first`: cost of a delivery, to that in the first, shortest log.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import asyncpg
import orjson
import uvloop

from service import migrations
from service.localstack.postgres import Postgres
from service.localstack.stack import LOCAL
from tests.bench import place
from tests.bench.filling import fill
from tests.roles import family, resident_mb
from tests.servers import database_named

ROWS = [int(rows) for rows in os.environ.get("BENCH_ROWS", "1000000,10000000").split(",")]
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "2"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
KEY = "a key of the benchmark"
CONFIG = """
[fold]
payer_key = "env:BENCH_KEY"
[sources.shop]
provider = "admin"
checks = "none"
"""
PAGE = 2_000
COLUMNS = "position, source, account, provider, root, kind, received_at, recorded_at, trust, body"
PLAIN = f"select {COLUMNS} from delivery_log order by position"
PAGED = f"select {COLUMNS} from delivery_log where position > $1 order by position limit $2"
READ_S_MAX = 30.0
LOOK_S = 0.25
"""Between two looks at the memory: more of them would take from what they look at."""
BODIES = 50_000
"""That are parsed: enough to tell the pace."""


def main() -> None:
    """Measure on a server of the benchmark's own, or on the one that RECIBO_DATABASE_URL names."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_home())))
        url = os.environ.get("RECIBO_DATABASE_URL") or _server(stack, folder)
        first_costs: dict[str, float] = {}
        for rows in ROWS:
            with _made(url, rows) as database:
                _measure(folder / str(rows), database, rows, first_costs)


def _measure(folder: Path, database: str, rows: int, first_costs: dict[str, float]) -> None:
    exported, states, spill = (folder / name for name in ("exported", "states", "spill"))
    spill.mkdir(parents=True)
    commands = {
        "postgres": ("rebuild", "--state-lost", f"--processes={PROCESSES}", f"--spill-folder={spill}"),
        "parquet": ("parquet", str(exported), f"--processes={PROCESSES}"),
        "parquet_into": ("parquet", str(exported), f"--processes={PROCESSES}", f"--into={states}"),
    }
    for source, words in commands.items():
        if source == "parquet":
            seconds, peak_mb = _run(folder, database, "export", str(exported))
            _tell("export", "postgres", rows, rows / seconds, peak_mb=peak_mb)
        rounds: list[_Round] = []
        anchors = [_Anchors.measured(database)]
        for _ in range(ROUNDS):
            uvloop.run(_ask(database, "drop schema if exists recibo_shadow cascade", "checkpoint"))
            shutil.rmtree(states, ignore_errors=True)
            seconds, peak_mb = _run(folder, database, "replay", *words)
            anchors.append(_Anchors.measured(database))
            rounds.append(_Round(seconds / rows, peak_mb, _Anchors.between(*anchors[-2:])))
        cost = median(each.cost for each in rounds)
        ratios = [_Anchors(*(1 / each.cost / speed for speed in each.anchors)) for each in rounds]
        median_ratio = _Anchors(*map(median, zip(*ratios, strict=True)))
        _tell(
            "replay",
            source,
            rows,
            1 / cost,
            processes=PROCESSES,
            peak_mb=max(each.peak_mb for each in rounds),
            ratio_to_plain_read=round(median_ratio.plain_read, 3),
            of_each_round=[round(each.plain_read, 3) for each in ratios],
            ratio_to_paged_read=round(median_ratio.paged_read, 3),
            ratio_to_json_parse=round(median_ratio.json_parse, 3),
            ratio_to_first=round(cost / first_costs.setdefault(source, cost), 3),
        )
        for name in _Anchors._fields:
            _tell(name, "postgres", rows, median(getattr(each, name) for each in anchors))
    shutil.rmtree(folder)


class _Anchors(NamedTuple):
    """What a rebuild is held against, in deliveries a second; or its ratios to them."""

    plain_read: float
    paged_read: float
    json_parse: float

    @classmethod
    def measured(cls, database: str) -> Self:
        return cls(asyncio.run(_plain(database)), uvloop.run(_paged(database)), uvloop.run(_parsed(database)))

    @classmethod
    def between(cls, before: Self, after: Self) -> Self:
        return cls(*map(fmean, zip(before, after, strict=True)))


class _Round(NamedTuple):
    cost: float
    """Seconds a delivery."""
    peak_mb: int
    anchors: _Anchors


async def _plain(database: str) -> float:
    connection = await asyncpg.connect(database)
    started, count = time.perf_counter(), 0
    async with connection.transaction():
        async for _ in connection.cursor(PLAIN):
            count += 1
            if count % PAGE == 0 and time.perf_counter() - started > READ_S_MAX:
                break
    seconds = time.perf_counter() - started
    await connection.close()
    return count / seconds


async def _paged(database: str) -> float:
    connection = await asyncpg.connect(database)
    started, after, count = time.perf_counter(), 0, 0
    while time.perf_counter() - started < READ_S_MAX:
        rows = await connection.fetch(PAGED, after, PAGE)
        if not rows:
            break
        count, after = count + len(rows), rows[-1]["position"]
    seconds = time.perf_counter() - started
    await connection.close()
    return count / seconds


async def _parsed(database: str) -> float:
    connection = await asyncpg.connect(database)
    bodies = [
        row["body"]
        for row in await connection.fetch("select body from delivery_log where position <= $1", BODIES)
    ]
    await connection.close()
    started = time.perf_counter()
    for body in bodies:
        orjson.loads(body)
    return len(bodies) / (time.perf_counter() - started)


def _run(folder: Path, database: str, *words: str) -> tuple[float, int]:
    """Seconds that `recibo WORDS` took, and the memory of all its processes at its highest, in MB."""
    config = folder / "recibo.toml"
    config.write_text(CONFIG)
    environment = os.environ | {
        "BENCH_KEY": KEY,
        "RECIBO_CONFIG": str(config),
        "RECIBO_DATABASE_URL": database,
        "RECIBO_KAFKA_BOOTSTRAP": "localhost:9",
    }
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "service", *words], env=environment, stdout=subprocess.DEVNULL
    ) as process:
        peak = 0
        while process.returncode is None:
            peak = max(peak, sum(map(resident_mb, family(process.pid))))
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)
    assert process.returncode == 0
    return time.perf_counter() - started, peak


def _home() -> Path:
    """Where servers and folders of the benchmark are: BENCH_FOLDER, or the checkout's own."""
    home = Path(os.environ.get("BENCH_FOLDER", LOCAL / "bench"))
    home.mkdir(parents=True, exist_ok=True)
    return home


def _server(stack: ExitStack, folder: Path) -> str:
    postgres = Postgres(folder)
    stack.callback(postgres.stop)
    postgres.prepare()
    postgres.launch()
    return postgres.wait()


@contextmanager
def _made(url: str, rows: int) -> Iterator[str]:
    """The URL of a database with a log of `rows` deliveries."""
    database = database_named(url, f"bench_replay_{rows}")
    name = urlsplit(database).path[1:]
    uvloop.run(_ask(url, f"drop database if exists {name} with (force)", f"create database {name}"))
    uvloop.run(migrations.migrate(database))
    uvloop.run(fill(database, rows))
    uvloop.run(_ask(database, "checkpoint"))
    try:
        yield database
    finally:
        uvloop.run(_ask(url, f"drop database {name} with (force)"))


async def _ask(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def _tell(
    bench: str, source: str, rows: int, per_second: float, *, processes: int = 1, **more: object
) -> None:
    told = {
        "bench": bench,
        "source": source,
        "rows": rows,
        "processes": processes,
        "per_second": round(per_second),
    }
    place.tell(**told, **more)


if __name__ == "__main__":
    main()
