"""Promise 8: who should not get in stores nothing; no secret and no personal datum gets out."""

from functools import partial
from pathlib import Path

import asyncpg
import pytest

from service.kafka import topics
from tests.bodies import ALL, body
from tests.outages import lines as logged
from tests.relays import published
from tests.roles import NO_SPILL, role
from tests.servers import Kafka, eventually
from tests.systems import PATIENCE, System, system

TOKEN = "the-registered-token"
BODY = b'{"id": "pay_1", "type": "PAYMENT", "status": "APPROVED"}'

GUARDED = f"""
[sources.url]
provider = "admin"
checks = [{{ kind = "url_token", secrets = ["file:token"] }}]

[sources.signed]
provider = "admin"
checks = [{{ kind = "hmac", header = "X-Signature", prefix = "sha256=", secrets = ["file:token"] }}]

[sources.token]
provider = "gen"
checks = [{{ kind = "authorization", secrets = ["file:token"] }}]

[sources.elsewhere]
provider = "aprovei"
checks = [{{ kind = "address", allow = ["203.0.113.0/24"] }}]
{PATIENCE}{NO_SPILL}"""

STRANGERS = [
    ("/webhooks/url", {}, 401),
    ("/webhooks/url?token=the-registered-tokem", {}, 401),
    ("/webhooks/url/the-registered-token-and-more", {}, 401),
    ("/webhooks/url", {"Authorization": TOKEN}, 401),
    ("/webhooks/signed", {}, 401),
    ("/webhooks/signed", {"X-Signature": "sha256=" + "0" * 64}, 401),
    ("/webhooks/signed", {"X-Signature": TOKEN}, 401),
    ("/webhooks/token", {"Authorization": "Bearer"}, 401),
    ("/webhooks/token", {"Authorization": f"Bearer Bearer {TOKEN}"}, 401),
    ("/webhooks/elsewhere", {}, 403),
    ("/webhooks/elsewhere", {"X-Forwarded-For": "203.0.113.9"}, 403),
    ("/webhooks/operator", {}, 404),
    ("/webhooks/", {}, 404),
]

PERSONAL = [
    *["ficticia", "ficticio", "98765432100", "987.654.321-00", "5541911111111", "5541922222222"],
    *["figueiras", "inexistente", "londrina", "curitiba", "1985-05-05"],
]
"""What the samples say of people, lower case."""


@pytest.fixture(autouse=True)
def everything_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIBO_LOG_LEVEL", "debug")


async def test_who_is_forged_unsigned_or_from_elsewhere_stores_nothing_and_learns_nothing(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)

    async with system(database_url, kafka, tmp_path, config=GUARDED) as running:
        answers = [await running.post(path, BODY, **headers) for path, headers, _ in STRANGERS]
        genuine, _ = await running.post(f"/webhooks/url?token={TOKEN}", BODY)
        await eventually(partial(_all_are_told, running), what="a log line has counted every refusal")
        lines = running.log_lines()

    owner = await asyncpg.connect(database_url)
    rows = await owner.fetch("select source, headers::text from delivery_log")
    await owner.close()
    assert [status for status, _ in answers] == [status for _, _, status in STRANGERS]
    assert {frozenset(problem) for _, problem in answers} == {frozenset({"type", "title", "status"})}
    assert genuine == 200
    assert [row["source"] for row in rows] == ["url"]
    assert "registered-toke" not in lines + str(rows)


async def _all_are_told(running: System) -> bool:
    told = logged(running.processes["ingress"], "ingress.refused")
    refused = sum(int(str(line["count"])) for line in told)
    return refused == len(STRANGERS)


async def test_no_personal_datum_is_in_a_log_line_a_state_or_an_event(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    sent = [
        *((provider, body(provider, name)) for provider, name in ALL if provider != "operator"),
        ("admin", body("admin", "payment_approved").replace(b"APPROVED", b"ficticia")),
        ("gen", body("gen", "order_created").replace(b'"ORDER.CREATED"', b'"FICTICIO"')),
    ]
    said = b"".join(one for _, one in sent).decode().lower()

    async with system(database_url, kafka, tmp_path) as running:
        for provider, one in sent:
            assert (await running.post(f"/webhooks/{provider}", one))[0] == 200
        await running.settle()
        lines = running.log_lines()

    owner = await asyncpg.connect(database_url)
    tables = ["order_state", "dispute_state", "subscription_state", "withdrawal_state", "cart_state"]
    stored = "".join([str(await owner.fetch(f"select * from {table}")) for table in [*tables, "quarantine"]])
    await owner.close()
    told = str(await published(kafka, topics.EVENT_TOPICS))
    assert [datum for datum in PERSONAL if datum not in said] == []
    assert [datum for datum in PERSONAL if datum in (lines + stored + told).lower()] == []


async def test_a_source_whose_secret_is_missing_opens_no_socket(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    # With a crash point nobody waits for its health: it is never healthy.
    async with role(
        "ingress", database_url, kafka, tmp_path, config=GUARDED, crashpoint="none of them"
    ) as ingress:
        code = await ingress.process.wait()

    lines = ingress.log.read_text()
    assert code == 4
    assert lines.count("the file token cannot be read") == 3
    assert "ingress.listening" not in lines
