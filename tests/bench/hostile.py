"""What strangers cost honest senders: their waiting alone, beside a flood, beside silent connections.

`make bench NAME=hostile`. Prints one JSON object per line; what counts is `ratio_to_alone`, the median over
the rounds of each round's own ratio, for the machine's speed drifts. The load is on the same machine.

- `alone`: signed deliveries at a fixed moderate rate.
- `flood`: the same beside unauthenticated requests, as fast as eight senders get their refusals, each on
  a connection of its own: a wrong token, a forged signature of a body, an unknown path. Over 30,000 in all.
- `silent`: the same beside 10,000 connections that sent half a head.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from statistics import median

import orjson
import uvloop

from service.localstack.ports import free_port
from tests.bench import load, pipeline, place
from tests.roles import resident_mb
from tests.servers import eventually

CONFIG = f"""{pipeline.CONFIG}
[sources.token]
provider = "gen"
checks = [{{ kind = "authorization", secrets = ["env:BENCH_KEY"] }}]

[ingress]
client_timeout_s = 600.0
"""
RATE = 300.0
SECONDS = 11.0
ROUNDS = 5
REFUSED_MIN = 30_000
SILENT = 10_000
FLOOD_CONNECTIONS = 8
BODY = b'{"id":"pay_1","type":"PAYMENT","status":"APPROVED","amount":15990}'


def strangers() -> Iterator[bytes]:
    """Endless requests that are refused, of each kind in turn."""
    heads = (
        b"POST /webhooks/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer a-guess\r\n",
        b"POST /webhooks/shop HTTP/1.1\r\nHost: localhost\r\nX-Signature: sha256=%s\r\n" % (b"0" * 64),
        b"POST /webhooks/nobody HTTP/1.1\r\nHost: localhost\r\n",
    )
    return cycle(head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY for head in heads)


def main() -> None:
    """Measure on servers of the benchmark's own."""
    place.run(CONFIG, _measure)


async def _measure(environment: place.Environment) -> None:
    port = free_port()
    # Its log lines go to a file: writing them is part of what a refusal costs.
    with (
        tempfile.TemporaryFile() as lines,
        place.role("ingress", environment | {"RECIBO_HTTP_PORT": str(port)}, lines) as ingress,
    ):
        await eventually(partial(place.answers, port), what="the ingress answers")
        await _rounds(port, ingress.pid)


async def _rounds(port: int, pid: int) -> None:
    honest = pipeline.requests()
    found: dict[str, list[load.Load]] = {"alone": [], "flood": [], "silent": []}
    refused = 0
    before = resident_mb(pid)
    for _ in range(ROUNDS):
        # Unmeasured: `alone` is not to pay for the farewells of the round before.
        await load.drive(port, honest, seconds=2, rate=RATE)
        found["alone"].append(await load.drive(port, honest, seconds=SECONDS, rate=RATE))
        with _flood(port) as flood:
            found["flood"].append(await load.drive(port, honest, seconds=SECONDS, rate=RATE))
            refused += _refused(flood)
        with _silent(port):
            found["silent"].append(await load.drive(port, honest, seconds=SECONDS, rate=RATE))
    for name, loads in found.items():
        assert all(set(one.statuses) == {b"200"} for one in loads), [one.statuses for one in loads]
        pairs = list(zip(loads, found["alone"], strict=True))
        place.tell(
            bench=name,
            per_second=round(median(one.per_second for one in loads)),
            p50_ms=round(median(one.percentile_ms(0.5) for one in loads), 2),
            p99_ms=round(median(one.percentile_ms(0.99) for one in loads), 2),
            p50_ratio_to_alone=_ratio(pairs, 0.5),
            p99_ratio_to_alone=_ratio(pairs, 0.99),
        )
    assert refused >= REFUSED_MIN
    place.tell(bench="strangers", refused=refused, silent=SILENT, resident_mb=[before, resident_mb(pid)])


def _ratio(pairs: list[tuple[load.Load, load.Load]], share: float) -> float:
    return round(median(one.percentile_ms(share) / alone.percentile_ms(share) for one, alone in pairs), 2)


@contextmanager
def _flood(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.bench.hostile", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        yield process


def _refused(flood: "subprocess.Popen[bytes]") -> int:
    out, _ = flood.communicate()
    statuses: dict[str, int] = orjson.loads(out)
    assert set(statuses) == {"401", "404"}, statuses
    return sum(statuses.values())


def flood(port: int) -> None:
    """Ask and be refused, for as long as one part of the benchmark takes; in a process of its own."""
    statuses = uvloop.run(_ask(port))
    place.tell(**{status.decode(): count for status, count in statuses.items()})


async def _ask(port: int) -> Counter[bytes]:
    statuses: Counter[bytes] = Counter()
    requests, deadline = strangers(), time.perf_counter() + SECONDS

    async def ask() -> None:
        while time.perf_counter() < deadline:
            # Each refusal closes the connection.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(next(requests))
            statuses[(await reader.read())[9:12]] += 1
            writer.close()

    await asyncio.gather(*(ask() for _ in range(FLOOD_CONNECTIONS)))
    return statuses


@contextmanager
def _silent(port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.silent", str(port), str(SILENT), "POST /webhooks/shop HT"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield
        process.communicate(b"")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        flood(int(sys.argv[1]))
    else:
        main()
