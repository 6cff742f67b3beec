"""Rebuilding all states from Postgres: how fast, in how much memory, held against reading alone.

`make bench NAME=replay`. Prints one JSON object per line; what counts are the ratios, for the machines'
own speed drifts. BENCH_ROWS names the log's lengths, `1000000,10000000` by default; BENCH_PROCESSES those
of the rebuild. Each log is made by the generator, of all four providers, and rebuilt as the command line
does it, states written and indexed.

- `ratio_to_plain_read`: to what asyncpg reads of the same rows in a plain loop, before and after.
- `ratio_to_json_parse`: to what `orjson.loads` alone makes of the same bodies in one process.
- `ratio_to_first`: cost of a delivery, to that in the first, shortest log.
- `peak_mb`: resident memory of all processes of the rebuild together.
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from urllib.parse import urlsplit

import asyncpg
import orjson
import uvloop

from service import migrations
from service.localstack.postgres import Postgres
from service.localstack.stack import LOCAL
from tests.bench.filling import fill
from tests.servers import database_named

ROWS = [int(rows) for rows in os.environ.get("BENCH_ROWS", "1000000,10000000").split(",")]
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "2"))
KEY = "a key of the benchmark"
CONFIG = """
[fold]
payer_key = "env:BENCH_KEY"
[sources.shop]
provider = "admin"
checks = "none"
"""
PAGE = 2_000
PLAIN = """
    select position, source, account, provider, root, kind, received_at, recorded_at, trust, body
    from delivery_log where position > $1 order by position limit $2
"""
READ_S_MAX = 30.0


def main() -> None:
    """Measure on a server of the benchmark's own, or on the one that RECIBO_DATABASE_URL names."""
    with ExitStack() as stack:
        url = os.environ.get("RECIBO_DATABASE_URL") or _server(stack)
        costs: list[float] = []
        for rows in ROWS:
            name = f"bench_replay_{rows}"
            database = database_named(url, name)
            uvloop.run(_made(url, database, rows))
            before = uvloop.run(_plain(database))
            parsed = uvloop.run(_json(database))
            seconds, peak_mb = _rebuild(database)
            after = uvloop.run(_plain(database))
            costs.append(seconds / rows)
            read, rate = mean((before, after)), rows / seconds
            _tell(bench="plain_read", source="postgres", rows=rows, processes=1, per_second=round(read))
            _tell(bench="json_parse", source="postgres", rows=rows, processes=1, per_second=round(parsed))
            _tell(
                bench="replay",
                source="postgres",
                rows=rows,
                processes=PROCESSES,
                per_second=round(rate),
                peak_mb=peak_mb,
                ratio_to_plain_read=round(rate / read, 3),
                ratio_to_json_parse=round(rate / parsed, 3),
                ratio_to_first=round(costs[-1] / costs[0], 3),
            )
            uvloop.run(_dropped(url, name))


def _server(stack: ExitStack) -> str:
    folder = LOCAL / f"bench-replay-{os.getpid()}"
    folder.mkdir(parents=True)
    stack.callback(subprocess.run, ["rm", "-rf", str(folder)], check=True)
    postgres = Postgres(folder)
    stack.callback(postgres.stop)
    postgres.prepare()
    postgres.launch()
    return postgres.wait()


async def _made(url: str, database: str, rows: int) -> None:
    name = urlsplit(database).path[1:]
    admin = await asyncpg.connect(url)
    await admin.execute(f"drop database if exists {name} with (force)")
    await admin.execute(f"create database {name}")
    await admin.close()
    await migrations.migrate(database)
    await fill(database, rows)
    owner = await asyncpg.connect(database)
    await owner.execute("checkpoint")
    await owner.close()


async def _dropped(url: str, name: str) -> None:
    admin = await asyncpg.connect(url)
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


async def _plain(database: str) -> float:
    connection = await asyncpg.connect(database)
    started, after, count = time.perf_counter(), 0, 0
    while time.perf_counter() - started < READ_S_MAX:
        rows = await connection.fetch(PLAIN, after, PAGE)
        if not rows:
            break
        count, after = count + len(rows), rows[-1]["position"]
    seconds = time.perf_counter() - started
    await connection.close()
    return count / seconds


async def _json(database: str) -> float:
    connection = await asyncpg.connect(database)
    bodies = [
        row["body"] for row in await connection.fetch("select body from delivery_log where position <= 50000")
    ]
    await connection.close()
    started = time.perf_counter()
    for body in bodies:
        orjson.loads(body)
    return len(bodies) / (time.perf_counter() - started)


def _rebuild(database: str) -> tuple[float, int]:
    """Seconds that it took, and the memory of all its processes at its highest, in MB."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        config = Path(folder) / "recibo.toml"
        config.write_text(CONFIG)
        environment = os.environ | {
            "BENCH_KEY": KEY,
            "RECIBO_CONFIG": str(config),
            "RECIBO_DATABASE_URL": database,
            "RECIBO_KAFKA_BOOTSTRAP": "localhost:9",
        }
        started = time.perf_counter()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "service", "replay", "rebuild", "--state-lost"),
                *(f"--processes={PROCESSES}", f"--spill-folder={folder}"),
            ],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, sum(map(_resident_kb, _family(process.pid))))
            time.sleep(0.1)
        assert process.returncode == 0
        return time.perf_counter() - started, peak // 1024


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(each for child in children for each in _family(int(child)))]


def _resident_kb(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def _tell(**measured: object) -> None:
    print(orjson.dumps(measured).decode(), flush=True)


if __name__ == "__main__":
    main()
