"""Servers of a test's own that it can take away and give back, and a sender with a ledger to outlive them."""

import asyncio
import hashlib
import os
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg
import orjson

from service.localstack.kafka import Kafka as LocalKafka
from service.localstack.postgres import Postgres
from service.localstack.stack import LOCAL
from tests.roles import Process
from tests.servers import eventually


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """A Postgres and a Kafka that nobody else uses."""

    postgres: Postgres
    kafka: LocalKafka
    database_url: str
    bootstrap: str

    async def postgres_answers(self) -> bool:
        """Whether Postgres takes a connection."""
        try:
            connection = await asyncpg.connect(self.database_url, timeout=1)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True

    async def kafka_answers(self) -> bool:
        """Whether Kafka takes a connection."""
        host, port = self.bootstrap.split(":")
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            return False
        writer.close()
        return True

    async def give_back_postgres(self) -> None:
        """Return once a Postgres that was taken away answers again."""
        if _has_ended(self.postgres._child):
            self.postgres.launch_again()
        await eventually(self.postgres_answers, what="Postgres answers", timeout_s=60)

    async def give_back_kafka(self) -> None:
        """Return once a Kafka that was taken away answers again."""
        if _has_ended(self.kafka._child):
            self.kafka.launch_again()
        await eventually(self.kafka_answers, what="Kafka answers", timeout_s=120)


def _has_ended(child: "subprocess.Popen[bytes] | None") -> bool:
    return child is not None and child.poll() is not None


@contextmanager
def servers(folder: Path) -> Iterator[Servers]:
    """Both, answering. Enter it from a thread that outlives them and runs no event loop."""
    postgres, kafka = Postgres(folder), LocalKafka(folder, LOCAL, lambda _: None)
    try:
        for server in (postgres, kafka):
            server.prepare()
        for server in (postgres, kafka):
            server.launch()
        yield Servers(postgres=postgres, kafka=kafka, database_url=postgres.wait(), bootstrap=kafka.wait())
    finally:
        for server in (postgres, kafka):
            server.stop()


@dataclass(slots=True)
class Answer:
    """What one request got."""

    digest: bytes
    status: int
    receipt: str
    took_s: float
    at: float
    """The event loop's time."""


@dataclass(slots=True)
class Ledger:
    """What was sent, and which answers came."""

    sent: Counter[bytes] = field(default_factory=Counter)
    answers: list[Answer] = field(default_factory=list)

    def statuses(self) -> Counter[int]:
        """How many answers of each kind."""
        return Counter(answer.status for answer in self.answers)

    def receipts(self, prefix: str) -> int:
        """How many receipts begin so."""
        return sum(answer.receipt.startswith(prefix) for answer in self.answers)

    async def answered(self, where: Callable[[Answer], bool], *, count: int = 1) -> Answer:
        """The answer, of those from now on, that is the `count`th for which `where` holds."""
        begin = len(self.answers)

        async def there() -> bool:
            return sum(map(where, self.answers[begin:])) >= count

        await eventually(there, what="the answers that are waited for")
        return [answer for answer in self.answers[begin:] if where(answer)][count - 1]


@asynccontextmanager
async def load(port: int, *, senders: int = 8) -> AsyncIterator[Ledger]:
    """Distinct deliveries, as fast as they are answered, while the context is open."""
    ledger = Ledger()
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(_send(port, ledger, sender, stopping)) for sender in range(senders)]
    try:
        yield ledger
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


async def _send(port: int, ledger: Ledger, sender: int, stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        number = 0
        while not stopping.is_set():
            number += 1
            body = b'{"id": "pay_%d_%d", "type": "PAYMENT", "status": "APPROVED"}' % (sender, number)
            digest = hashlib.sha256(body).digest()
            ledger.sent[digest] += 1
            began = loop.time()
            try:
                async with session.post(f"http://127.0.0.1:{port}/webhooks/shop", data=body) as answer:
                    document = await answer.json(content_type=None)
            except aiohttp.ClientError:
                return
            ledger.answers.append(
                Answer(digest, answer.status, document.get("receipt", ""), loop.time() - began, loop.time())
            )
            if answer.status != 200:
                await asyncio.sleep(0.01)


def lines(process: Process, *events: str) -> list[dict[str, object]]:
    """The log lines of a role with one of these names, in their order."""
    found = []
    for line in process.log.read_bytes().splitlines():
        if line.startswith(b"{"):
            document = orjson.loads(line)
            if document["event"] in events:
                found.append(document)
    return found


async def health(process: Process) -> dict[str, dict[str, object]]:
    """What a role says of itself."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{process.port}/health") as answer,
    ):
        assert answer.status == 200
        document = await answer.json()
    roles: dict[str, dict[str, object]] = document.get("roles", document)
    return roles


async def assert_kept(database_url: str, ledger: Ledger, ingress: Process) -> None:
    """The design's rules: nothing acknowledged is lost, nothing doubled but what was in doubt."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("select position, body, body_sha256 from delivery_log order by position")
    await connection.close()
    doubts = Counter(
        bytes.fromhex(str(line["body_sha256"])) for line in lines(ingress, "ingress.outcome_unknown")
    )
    kept = Counter(row["body_sha256"] for row in rows)
    received = Counter(answer.digest for answer in ledger.answers if answer.status == 200)
    lost = {digest.hex() for digest, count in received.items() if kept[digest] < count}
    doubled = {digest.hex() for digest, count in kept.items() if count > ledger.sent[digest] + doubts[digest]}
    assert (lost, doubled) == (set(), set())
    assert all(hashlib.sha256(row["body"]).digest() == row["body_sha256"] for row in rows)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A server, its children too, that neither works nor dies while the context is open."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    family = [pid, *map(int, children)]
    for member in family:
        os.kill(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in reversed(family):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGCONT)
