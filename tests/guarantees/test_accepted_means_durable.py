"""Promise 1: every 2xx has its exact bytes in the log, whatever happens to the ingress."""

import asyncio
import hashlib
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.poison import MARK, POISON
from tests.roles import CONFIG, NO_SPILL, Process, role
from tests.servers import Kafka


class Ledger:
    """What was sent, and which answers came: kept by the sender, who outlives the ingress."""

    def __init__(self, *, enough: int = 1) -> None:
        self.sent: dict[bytes, bytes] = {}
        self.receipts: dict[bytes, tuple[str, int]] = {}
        """Where each is by its receipt: the log or what it cannot hold, and the number there."""
        self._enough = enough
        self.has_enough = asyncio.Event()
        """Set once there are that many receipts."""

    def send(self, body: bytes) -> bytes:
        digest = hashlib.sha256(body).digest()
        self.sent[digest] = body
        return digest

    def answered(self, digest: bytes, receipt: str) -> None:
        place, _, number = receipt.rpartition("-")
        self.receipts[digest] = place, int(number)
        if len(self.receipts) >= self._enough:
            self.has_enough.set()


@pytest.mark.parametrize("kill_after", [200, 1500])
async def test_what_was_answered_is_in_the_log_after_sigkill_under_load(
    database_url: str, kafka: Kafka, tmp_path: Path, kill_after: int
) -> None:
    ledger = Ledger(enough=kill_after)

    async with role("ingress", database_url, kafka, tmp_path, config=CONFIG + NO_SPILL) as ingress:
        senders = [asyncio.create_task(_send(ingress, ledger, sender)) for sender in range(24)]
        await ledger.has_enough.wait()
        ingress.kill()
        await asyncio.gather(*senders)

    await _assert_held(database_url, ledger)
    assert len(ledger.receipts) >= kill_after


async def test_an_ingress_killed_between_append_and_answer_keeps_what_it_appended(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    ledger = Ledger()

    async with role(
        "ingress", database_url, kafka, tmp_path, config=CONFIG + NO_SPILL, crashpoint="ingress.appended@20"
    ) as ingress:
        await _listening(ingress)
        await asyncio.gather(*(_send(ingress, ledger, sender) for sender in range(8)))
        await ingress.killed()

    await _assert_held(database_url, ledger)


async def test_sigterm_answers_what_was_accepted(database_url: str, kafka: Kafka, tmp_path: Path) -> None:
    ledger = Ledger(enough=300)

    async with role("ingress", database_url, kafka, tmp_path, config=CONFIG + NO_SPILL) as ingress:
        senders = [asyncio.create_task(_send(ingress, ledger, sender)) for sender in range(24)]
        await ledger.has_enough.wait()
        code = await ingress.stop()
        await asyncio.gather(*senders)

    await _assert_held(database_url, ledger)
    assert code == 0
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetchval("select count(*) from delivery_log")
    await connection.close()
    assert rows == len(ledger.receipts)


async def test_a_row_that_postgres_refuses_keeps_no_other_from_its_receipt(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(POISON.format(sqlstate="22P02"))
    ledger = Ledger(enough=600)

    async with role("ingress", database_url, kafka, tmp_path, config=CONFIG + NO_SPILL) as ingress:
        senders = [asyncio.create_task(_send(ingress, ledger, sender, poison=13)) for sender in range(24)]
        await ledger.has_enough.wait()
        ingress.kill()
        await asyncio.gather(*senders)

    await owner.close()
    await _assert_held(database_url, ledger)
    assert {place for place, _ in ledger.receipts.values()} == {"main", "refused"}


async def _send(ingress: Process, ledger: Ledger, sender: int, *, poison: int = 100_000) -> None:
    """Send one delivery after another until the ingress is gone; each `poison`th is refused by Postgres."""
    url = f"http://127.0.0.1:{ingress.port}/webhooks/shop"
    async with aiohttp.ClientSession() as session:
        for number in range(100_000):
            body = b'{"id": "pay_%d_%d", "type": "PAYMENT", "status": "APPROVED"}' % (sender, number)
            if number % poison == poison - 1:
                body += MARK
            digest = ledger.send(body)
            try:
                async with session.post(url, data=body) as answer:
                    assert answer.status == 200, await answer.text()
                    ledger.answered(digest, (await answer.json())["receipt"])
            except aiohttp.ClientError:
                return


async def _listening(ingress: Process) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def _assert_held(database_url: str, ledger: Ledger) -> None:
    """Every receipt's row holds the exact bytes; every row was sent; the log's positions are dense."""
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("select position, body, body_sha256 from delivery_log order by position")
    refused = await connection.fetch("select number, body, body_sha256 from refused_delivery")
    await connection.close()
    held = {("main", row["position"]): row for row in rows} | {
        ("refused", row["number"]): row for row in refused
    }
    for digest, place in ledger.receipts.items():
        assert held[place]["body"] == ledger.sent[digest]
        assert held[place]["body_sha256"] == digest
    assert all(row["body_sha256"] in ledger.sent for row in held.values())
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
