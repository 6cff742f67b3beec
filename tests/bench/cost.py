"""What a small load costs: cores by stage and server, and how soon an event can be read.

`make bench NAME=cost`. Prints one JSON object for each rate, in deliveries a second. `cores` is processor
time by wall time of every role, of Postgres and of Kafka, and all together; the load generator and the reader
of the events are not counted, though what the reader asks of Kafka is. `event_p50_ms` and `event_p99_ms` run
from the sending of a delivery to its domain event in a subscriber's hands, `ack_p99_ms` to its receipt.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from projections.delivery import PARTITIONS
from service import settings, status
from service.localstack.ports import free_port
from tests.bench import load, pipeline, place
from tests.roles import family
from tests.servers import eventually

RATES: Final = tuple(int(rate) for rate in os.environ.get("BENCH_RATES", "0,30,100,300").split(","))
SECONDS: Final = float(os.environ.get("BENCH_SECONDS", "20"))
_WARMING_S: Final = float(os.environ.get("BENCH_WARMING_SECONDS", "40"))
_WARMING_RATE: Final = 400
_SETTLING_S: Final = 5.0
"""Before a measurement: what started, or was left, has come to rest."""
_ROLES: Final = ("ingress", "drain", "relay", "projector")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure on servers of the benchmark's own."""
    gather_s = os.environ.get("BENCH_GATHER_S")
    place.run(pipeline.CONFIG + (f"[relay]\ngather_s = {gather_s}\n" if gather_s else ""), _measure)


async def _measure(environment: place.Environment) -> None:
    environment = environment | {"RECIBO_LOG_LEVEL": "warning"}
    port = free_port()
    loaded = settings.load(environment, Path(environment["RECIBO_CONFIG"]))
    with ExitStack() as stack:
        roles = {
            name: stack.enter_context(place.role(name, environment | {"RECIBO_HTTP_PORT": str(port)}))
            for name in _ROLES
        }
        await eventually(lambda: place.answers(port), what="the ingress answers")
        # A JVM compiles for a minute or so what it does often; servers run for months.
        await load.drive(port, _requests(0), seconds=_WARMING_S, rate=_WARMING_RATE)
        for number, rate in enumerate(RATES, 1):
            await eventually(lambda: _settled(loaded), what="everything is folded and told", timeout_s=120)
            await asyncio.sleep(_SETTLING_S)
            await _at(rate, loaded, roles, port=port, first=number * 10_000_000)


async def _settled(loaded: settings.Settings) -> bool:
    return (await status.ask(loaded)).settled


async def _at(
    rate: int,
    loaded: settings.Settings,
    roles: Mapping[str, "subprocess.Popen[bytes]"],
    *,
    port: int,
    first: int,
) -> None:
    events = _Events(loaded, first)
    async with asyncio.timeout(SECONDS + 60):
        await events.start()
        began, before = time.monotonic(), _cpu_s(roles)
        if rate:
            result = await load.drive(port, events.watched(), seconds=SECONDS, rate=rate, connections=32)
        else:
            result = load.Load()
            await asyncio.sleep(SECONDS)
        took, after = time.monotonic() - began, _cpu_s(roles)
        waited_ms = await events.stop()
    cores = {name: round((after[name] - before[name]) / took, 3) for name in after}
    told: dict[str, object] = {"rate": rate, "cores": cores | {"all": round(sum(cores.values()), 3)}}
    if rate:
        told["event_p50_ms"] = _percentile(waited_ms, 0.5)
        told["event_p99_ms"] = _percentile(waited_ms, 0.99)
        told["ack_p99_ms"] = round(result.percentile_ms(0.99), 1)
        assert set(result.statuses) == {b"200"}, result.statuses
        assert len(waited_ms) == result.sent, f"{result.sent} were sent, {len(waited_ms)} events came"
    place.tell(bench="cost", **told)


def _requests(first: int) -> Iterator[bytes]:
    """Endless payments, each told of once: so each delivery is one event of `orders`."""
    while True:
        yield pipeline.request(first, "APPROVED", 0)
        first += 1


class _Events:
    """A subscriber of `orders`, who knows when each payment was sent."""

    def __init__(self, loaded: settings.Settings, first: int) -> None:
        self._first = first
        self._sent_at: list[float] = []
        self._waited_ms: list[float] = []
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=loaded.kafka.bootstrap,
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="latest",
            fetch_max_wait_ms=5_000,
        )
        self._partitions = [
            TopicPartition(f"{loaded.kafka.topic_prefix}orders", partition) for partition in range(PARTITIONS)
        ]
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._partitions)
        await self._consumer.seek_to_end(*self._partitions)
        self._reading = asyncio.create_task(self._read())

    def watched(self) -> Iterator[bytes]:
        """The requests, each noted as it is handed out."""
        for request in _requests(self._first):
            self._sent_at.append(time.perf_counter())
            yield request

    async def stop(self) -> list[float]:
        """How long each event took, once all have come."""

        async def all_came() -> bool:
            return len(self._waited_ms) >= len(self._sent_at)

        await eventually(all_came, what="every event was read")
        assert self._reading is not None
        self._reading.cancel()
        await self._consumer.stop()
        return self._waited_ms

    async def _read(self) -> None:
        async for record in self._consumer:
            # `<account>:order:pay_<number>`
            number = int(record.key.rpartition(b"_")[2]) - self._first
            if 0 <= number < len(self._sent_at):
                self._waited_ms.append((time.perf_counter() - self._sent_at[number]) * 1000)


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


def _cpu_s(roles: Mapping[str, "subprocess.Popen[bytes]"]) -> dict[str, float]:
    """Processor time so far of each role, and of the servers that this process started."""
    used = {name: _of_family(process.pid) for name, process in roles.items()}
    ours = {process.pid for process in roles.values()}
    for child in family(os.getpid())[1:]:
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        name = "kafka" if b"kafka.Kafka" in command else "postgres" if b"-D" in command else None
        if name is not None and child not in ours:
            used[name] = _of_family(child)
    return used


def _of_family(pid: int) -> float:
    # With the children that have ended and were waited for: a backend's time counts after it is gone.
    return sum(_own(each) for each in family(pid))


def _own(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


if __name__ == "__main__":
    main()
