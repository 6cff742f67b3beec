"""How fast an exported folder folds, held against what reading and parsing alone would take.

`make bench NAME=replay_parquet`. BENCH_ROWS says how many deliveries (several by commas; default a
million), BENCH_PROCESSES how many processes fold them. The folders stay in .local/bench: making ten
million deliveries takes longer than folding them. Prints one JSON object per line:

- `per_second`: deliveries, with the states written as Parquet, by `recibo replay parquet --into`;
- `peak_mb`: resident memory of all its processes together, each at its own peak;
- `ratio_to_plain_read`: of what reading the facts' columns alone makes, in one process;
- `ratio_to_json_parse`: of what `orjson.loads` alone makes of the same bodies, in one process;
- `ratio_to_first`: the cost of a delivery here by that at the first number of rows.
"""

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median

import orjson
import pyarrow.parquet as pq

from projections.fold import fold_version
from service.export.tables import RangeTables
from service.exported.directory import Directory
from service.exported.manifest import FACTS, NAME, File, Layout, Manifest, Origin, Range
from service.localstack import LOCAL
from service.simulation import scenarios
from tests.exports import MIXTURE, PROVIDERS, READING, MadeUpLog

ROWS = [int(rows) for rows in os.environ.get("BENCH_ROWS", "1000000").split(",")]
PROCESSES = int(os.environ.get("BENCH_PROCESSES", "2"))
BODIES = 50_000
"""Of the log, that are parsed: enough to tell the pace."""


def main() -> None:
    """Measure each number of rows in turn."""
    first_cost = 0.0
    for rows in ROWS:
        folder = LOCAL / "bench" / f"exported-{rows}"
        if not (folder / NAME).exists():
            _make(folder, rows)
        parsing = [_parsed_per_second()]
        reading = _read_per_second(folder, rows)
        seconds, peak_mb = _replay(folder)
        parsing.append(_parsed_per_second())
        first_cost = first_cost or seconds / rows
        told = {
            "bench": "replay",
            "source": "parquet",
            "rows": rows,
            "processes": PROCESSES,
            "per_second": round(rows / seconds),
            "peak_mb": peak_mb,
            "ratio_to_plain_read": round(rows / seconds / reading, 3),
            "ratio_to_json_parse": round(rows / seconds / median(parsing), 3),
            "ratio_to_first": round(seconds / rows / first_cost, 3),
        }
        print(orjson.dumps(told).decode(), flush=True)


def _make(folder: Path, rows: int) -> None:
    layout = Layout()
    origin = Origin(log="main", began_at=0, fold_version=fold_version(READING), personal_data=False)
    manifest = Manifest(origin=origin, layout=layout)
    starts = range(1, rows + 1, layout.range_positions)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        made = pool.map(partial(_make_range, folder, manifest, rows), starts)
        for held, tables in made:
            manifest = manifest.with_range(held, tables)
    Directory(str(folder)).write(NAME, manifest.encode())


def _make_range(folder: Path, manifest: Manifest, rows: int, first: int) -> tuple[Range, list[File]]:
    """A range of deliveries of its own seed."""
    last = min(first + manifest.layout.range_positions - 1, rows)
    log = MadeUpLog(last - first + 1, seed=first, first=first)
    tables = RangeTables(Directory(str(folder)), manifest, READING, first=first)
    asyncio.run(_fill(tables, log, first=first, last=last))
    held = Range(
        first=first,
        last=last,
        ended_at=0,
        sealed=last - first + 1 == manifest.layout.range_positions,
        facts=tables.facts,
        quarantined=tables.quarantined,
    )
    return held, tables.files


async def _fill(tables: RangeTables, log: MadeUpLog, *, first: int, last: int) -> None:
    while first <= last:
        page = await log.page(first - 1, last)
        tables.add(page)
        first += len(page)
    tables.flush()


def _parsed_per_second() -> float:
    stream = scenarios.deliveries(1, [(name, name) for name in PROVIDERS], MIXTURE)
    bodies = [delivery.body for delivery in islice(stream, BODIES)]
    started = time.perf_counter()
    for body in bodies:
        orjson.loads(body)
    return BODIES / (time.perf_counter() - started)


def _read_per_second(folder: Path, rows: int) -> float:
    started = time.perf_counter()
    for file in Directory(str(folder)).export().of(FACTS):
        pq.ParquetFile(folder / file.path).read(use_threads=False)
    return rows / (time.perf_counter() - started)


def _replay(folder: Path) -> tuple[float, int]:
    """Seconds, and the sum of its processes' peaks in megabytes."""
    into = folder.with_name("states")
    words = ["replay", "parquet", str(folder), "--processes", str(PROCESSES), "--into", str(into)]
    peaks: dict[int, int] = {}
    with subprocess.Popen([sys.executable, "-m", "service", *words], stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            for pid in _tree(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), _peak_kb(pid))
            time.sleep(0.1)
        assert process.stdout is not None
        summary = orjson.loads(process.stdout.read())
    shutil.rmtree(into)
    return float(summary["seconds"]), sum(peaks.values()) // 1024


def _tree(pid: int) -> Sequence[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _peak_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    main()
