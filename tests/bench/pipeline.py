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
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

from service import settings, status
from service.localstack.ports import free_port
from service.wiring import ROLES
from tests.bench import load, place
from tests.roles import resident_mb
from tests.servers import eventually

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
                yield request(number, word, minute - (minute > 1))
        first += 500


def request(number: int, word: str, minute: int) -> bytes:
    """What a sender sends of payment `number`: its word, and the minute in which it changed."""
    body = (
        b'{"id":"pay_%012d","type":"PAYMENT","status":"%s","amount":15990,"currency":"BRL",'
        b'"external_id":"LJ-%d","created_at":"2025-11-03T13:00:00Z","updated_at":"2025-11-03T13:%02d:10Z",'
        b'"payer":{"name":"Carla Exemplo","email":"carla.exemplo@example.com","document":"123.456.789-09"},'
        b'"payment_method":{"type":"PIX","details":{}}}'
    ) % (number, word.encode(), number, minute)
    signature = hmac.new(place.KEY.encode(), body, hashlib.sha256).hexdigest().encode()
    return (
        b"POST /webhooks/shop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"User-Agent: provider/1.0\r\nX-Signature: sha256=%s\r\nContent-Length: %d\r\n\r\n%s"
    ) % (signature, len(body), body)


def main() -> None:
    """Measure on servers of the benchmark's own."""
    place.run(CONFIG, _measure)


async def _measure(environment: place.Environment) -> None:
    environment = environment | {"RECIBO_LOG_LEVEL": "warning"}
    ports = {"empty": free_port(), "ingest": free_port()}
    with ExitStack() as stack:
        with place.process([sys.executable, "-m", "tests.bench.empty", str(ports["empty"])], environment):
            ingress = stack.enter_context(
                place.role("ingress", environment | {"RECIBO_HTTP_PORT": str(ports["ingest"])})
            )
            bare = await _ingest(ports)
        roles = {
            "ingress": ingress,
            # Every one: under load an append may take longer than its time limit, and what is spilled then
            # is never settled without a drain.
            **{
                name: stack.enter_context(place.role(name, environment))
                for name in ROLES
                if name != "ingress"
            },
        }
        loaded = settings.load(environment, Path(environment["RECIBO_CONFIG"]))
        await _path(loaded, roles, port=ports["ingest"], rate=bare * SHARE, bare=bare)


async def _ingest(ports: Mapping[str, int]) -> float:
    for name, port in ports.items():
        await eventually(partial(place.answers, port), what=f"the server of {name} answers")
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
        place.tell(
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
        ended = {name: process.poll() for name, process in roles.items() if process.poll() is not None}
        assert not ended, f"no longer running, and with which code: {ended}"
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
    place.tell(
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


if __name__ == "__main__":
    main()
