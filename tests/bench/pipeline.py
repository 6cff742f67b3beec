"""From HTTP to a domain event in Kafka: how fast, held against the same server doing nothing.

`make bench NAME=pipeline`. Prints one JSON object per line; what counts is `ratio_to_empty`, for the
machines' own speed drifts. All on one machine: Postgres, Kafka, every role, the load.

- `empty`: an aiohttp server whose handler answers at once.
- `ingest`: the ingress, HMAC, JSON and group commit, measured alternately with `empty`.
- `path`: deliveries at a fifth of the rate of `empty` for a minute; lag is what was received and is
  not yet a domain event in Kafka, at the end of each tenth of that time.
"""

import asyncio
import hashlib
import hmac
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import IO

import orjson
import uvloop

from service import settings, status
from service.kafka import topics
from service.localstack import LOCAL, running
from service.localstack.ports import free_port
from tests.bench import load
from tests.servers import eventually, fresh_database, fresh_prefix

KEY = "a secret of the benchmark"
CONFIG = """
[sources.shop]
provider = "admin"
checks = [{ kind = "hmac", header = "X-Signature", prefix = "sha256=", secrets = ["env:BENCH_KEY"] }]
"""
SHARE = float(os.environ.get("BENCH_SHARE", "0.2"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "60"))
INGEST_SECONDS = 6.0
ROUNDS = 3
WORDS = ("PENDING", "APPROVED", "APPROVED", "REFUNDED")
"""Of one payment: with a repeat, as `on_transaction_updated` makes it."""


def requests(first: int = 0) -> Iterator[bytes]:
    """Endless deliveries: the lives of payments from number `first` on, interleaved."""
    while True:
        for minute, word in enumerate(WORDS):
            for number in range(first, first + 500):
                yield _request(number, word, minute - (minute > 1))
        first += 500


def _request(number: int, word: str, minute: int) -> bytes:
    body = (
        b'{"id":"pay_%012d","type":"PAYMENT","status":"%s","amount":15990,"currency":"BRL",'
        b'"external_id":"LJ-%d","created_at":"2025-11-03T13:00:00Z","updated_at":"2025-11-03T13:%02d:10Z",'
        b'"payer":{"name":"Carla Exemplo","email":"carla.exemplo@example.com","document":"123.456.789-09"},'
        b'"payment_method":{"type":"PIX","details":{}}}'
    ) % (number, word.encode(), number, minute)
    signature = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest().encode()
    return (
        b"POST /webhooks/shop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"User-Agent: provider/1.0\r\nX-Signature: sha256=%s\r\nContent-Length: %d\r\n\r\n%s"
    ) % (signature, len(body), body)


def main() -> None:
    """Measure on servers of the benchmark's own."""
    with ExitStack() as stack:
        servers = stack.enter_context(running(LOCAL / "bench"))
        uvloop.run(_measure(servers.database_url, servers.kafka_bootstrap))


async def _measure(database_url: str, bootstrap: str) -> None:
    async with fresh_database(database_url) as url:
        prefix = fresh_prefix()
        await topics.create(bootstrap, prefix)
        with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
            path = Path(folder) / "recibo.toml"
            path.write_text(CONFIG)
            environment = os.environ | {
                "BENCH_KEY": KEY,
                "RECIBO_CONFIG": str(path),
                "RECIBO_DATABASE_URL": url,
                "RECIBO_KAFKA_BOOTSTRAP": bootstrap,
                "RECIBO_TOPIC_PREFIX": prefix,
                "RECIBO_LOG_LEVEL": "warning",
            }
            ports = {"empty": free_port(), "ingest": free_port()}
            with _process([sys.executable, "-m", "tests.bench.empty", str(ports["empty"])], environment):
                ingress = stack.enter_context(
                    role("ingress", environment | {"RECIBO_HTTP_PORT": str(ports["ingest"])})
                )
                bare = await _ingest(ports)
            roles = {
                "ingress": ingress,
                "relay": stack.enter_context(role("relay", environment)),
                "projector": stack.enter_context(role("projector", environment)),
            }
            await _path(
                settings.load(environment, path), roles, port=ports["ingest"], rate=bare * SHARE, bare=bare
            )


async def _ingest(ports: Mapping[str, int]) -> float:
    for name, port in ports.items():
        await eventually(partial(answers, port), what=f"the server of {name} answers")
    rates: dict[str, list[float]] = {"empty": [], "ingest": []}
    tails: dict[str, list[float]] = {"empty": [], "ingest": []}
    source = requests()
    for _ in range(ROUNDS):
        for name, port in ports.items():
            result = await load.drive(port, source, seconds=INGEST_SECONDS)
            assert set(result.statuses) == {b"200"}, result.statuses
            rates[name].append(result.per_second)
            tails[name].append(result.percentile_ms(0.99))
    bare = median(rates["empty"])
    for name, measured in rates.items():
        tell(
            bench=name,
            per_second=round(median(measured)),
            ratio_to_empty=round(median(measured) / bare, 3),
            p99_ms=round(median(tails[name]), 1),
        )
    return bare


async def _path(
    loaded: settings.Settings,
    roles: dict[str, "subprocess.Popen[bytes]"],
    *,
    port: int,
    rate: float,
    bare: float,
) -> None:
    async def settled() -> bool:
        return (await status.ask(loaded)).settled

    # What the first part left is folded first: the minute measures the path, not a backlog.
    await eventually(settled, what="the first part's deliveries are folded", timeout_s=600)
    lags: list[int] = []
    driving = asyncio.create_task(load.drive(port, requests(10_000_000), seconds=SECONDS, rate=rate))
    for _ in range(10):
        await asyncio.sleep(SECONDS / 10)
        lags.append(_lag(await status.ask(loaded)))
    result = await driving
    drained = time.perf_counter()
    await eventually(settled, what="everything is folded and told", timeout_s=600)
    drained = time.perf_counter() - drained
    tell(
        bench="path",
        per_second=round(result.per_second),
        ratio_to_empty=round(result.per_second / bare, 3),
        statuses={code.decode(): count for code, count in result.statuses.items()},
        seconds=round(result.seconds, 1),
        lag_rows=lags,
        drained_s=round(drained, 2),
        p99_ms=round(result.percentile_ms(0.99), 1),
        resident_mb={name: resident_mb(process.pid) for name, process in roles.items()},
    )


def _lag(found: status.Status) -> int:
    lags = (found.relay_lag("deliveries"), found.projector_lag(), found.relay_lag("events"))
    assert all(lag is not None for lag in lags), "a server is away"
    return sum(lag or 0 for lag in lags)


@contextmanager
def role(
    name: str, environment: dict[str, str], output: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """`recibo serve <name>` while the context is open; its log lines go to `output`, else to the terminal."""
    with _process([sys.executable, "-m", "service", "serve", name], environment, output) as process:
        yield process


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], output: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(command, env=environment, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


async def answers(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def resident_mb(pid: int) -> int:
    """The memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def tell(**measured: object) -> None:
    """One line of results."""
    print(orjson.dumps(measured).decode(), flush=True)


if __name__ == "__main__":
    main()
