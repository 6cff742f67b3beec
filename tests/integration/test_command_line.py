"""`recibo` as a person meets it: one clear line for a failure, and an exit code that means something."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from service.eventlog.deliveries import append_batch, append_setting_aside
from service.kafka.topics import TOPICS
from service.postgres import connect
from tests.deliveries import admin_payment, new_delivery
from tests.projectors import ends, fold_up_to, projector_of
from tests.relays import drain, relay_of
from tests.servers import Kafka, database_named, eventually

CONFIG = '[sources.shop]\nprovider = "admin"\nchecks = "none"\n[kafka]\nreplicas = 1\n'
NOWHERE = "postgresql://recibo@127.0.0.1:1/recibo"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    told: list[str]
    """The lines on stderr."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """Commands in one environment."""

    environment: dict[str, str]

    async def __call__(self, *arguments: str, **environment: str) -> Ended:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "service", *arguments),
            env=self.environment | environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, told = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), told.decode().splitlines())


@pytest.fixture
def alone(tmp_path: Path) -> CommandLine:
    """The command line where no server answers."""
    (tmp_path / "recibo.toml").write_text(CONFIG)
    return CommandLine(
        os.environ
        | {
            "RECIBO_DATABASE_URL": NOWHERE,
            "RECIBO_KAFKA_BOOTSTRAP": "127.0.0.1:1",
            "RECIBO_CONFIG": str(tmp_path / "recibo.toml"),
        }
    )


@pytest.fixture
def recibo(alone: CommandLine, database_url: str, kafka: Kafka) -> CommandLine:
    """The command line on this test's own database and topics."""
    return CommandLine(
        alone.environment
        | {
            "RECIBO_DATABASE_URL": database_url,
            "RECIBO_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "RECIBO_TOPIC_PREFIX": kafka.prefix,
        }
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["bogus"], "No such command 'bogus' (see `python -m service --help`)"),
        (["serve"], "Missing argument 'ROLE' (see `python -m service serve --help`)"),
        (["serve", "replay"], "replay: there are ingress, drain, relay, projector (see"),
        (["dispute", "shop:order:1", "won"], "'won' is not one of 'lost', 'closed' (see"),
        (["quarantine", "retry", "main-7"], "Invalid value for 'POSITION'"),
    ],
)
async def test_a_command_that_is_not_understood_is_one_line_and_code_2(
    alone: CommandLine, arguments: list[str], told: str
) -> None:
    ended = await alone(*arguments)

    (line,) = ended.told
    assert (ended.code, ended.out) == (2, "")
    assert line.startswith("recibo: ")
    assert told in line


async def test_every_fault_of_file_and_environment_is_told_at_once_with_code_4(
    alone: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "recibo.toml").write_text('[sources.shop]\nprovider = "adnim"\n[relay]\nrows_maxx = 3\n')

    ended = await alone("serve", "ingress", RECIBO_DATABASE_URL="mysql://", RECIBO_LOG_LEVEL="loud")

    assert (ended.code, ended.out) == (4, "")
    assert ended.told == [
        "recibo: 5 faulty settings:",
        "  RECIBO_DATABASE_URL: takes postgresql://…",
        "  sources.shop.provider: takes one of admin, aprovei, barte, gen (did you mean admin?)",
        '  sources.shop.checks: takes a list of tables, such as [{ kind = "url_token", … }], or "none"',
        "  relay.rows_maxx: is not known (did you mean rows_max?)",
        "  RECIBO_LOG_LEVEL: takes debug, info, warning, error or critical",
    ]


@pytest.mark.parametrize(
    "arguments",
    [["migrate"], ["quarantine", "list"], ["parked", "retry"], ["dispute", "shop:order:1", "lost"]],
    ids=" ".join,
)
async def test_while_postgres_is_away_a_command_says_so_with_code_1(
    alone: CommandLine, arguments: list[str]
) -> None:
    ended = await alone(*arguments)

    (line,) = ended.told
    assert ended.code == 1
    assert line.startswith("recibo: Postgres cannot be reached (ConnectionRefusedError): see RECIBO_")


async def test_before_the_first_migration_and_topics_status_says_what_to_run(
    recibo: CommandLine, database_url: str
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("create database unmigrated")
    await owner.close()
    empty = {"RECIBO_DATABASE_URL": database_named(database_url, "unmigrated"), "RECIBO_TOPIC_PREFIX": "no."}

    before = await recibo("status", **empty)
    made = [await recibo("migrate", **empty), await recibo("topics", **empty)]
    after = await recibo("status", "--json", **empty)
    again = [await recibo("migrate", **empty), await recibo("topics", **empty)]

    owner = await asyncpg.connect(database_url)
    await owner.execute("drop database unmigrated")
    await owner.close()
    (line,) = before.told
    assert before.code == 1
    assert "run `recibo migrate`" in line and "run `recibo topics`" in line
    assert [ended.code for ended in (*made, after, *again)] == [0] * 5
    assert made[1].out.splitlines() == [f"created no.{topic.name}" for topic in TOPICS]
    assert orjson.loads(after.out)["settled"] is True
    assert [ended.out for ended in again] == ["the schema is up to date\n", "all topics are there\n"]


async def test_topics_says_what_differs_with_code_3_and_alters_it_when_told_to(
    recibo: CommandLine, kafka: Kafka
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    spill = ConfigResource(
        ConfigResourceType.TOPIC, f"{kafka.prefix}webhooks.spill", {"retention.ms": "1", "segment.ms": "9000"}
    )
    await admin.alter_configs([spill])
    await admin.close()

    async def told() -> bool:
        ended = await recibo("topics")
        # Kafka shows all of it at once, a moment later.
        return ended.code == 3 and f"{kafka.prefix}webhooks.spill: retention.ms is 1, wanted is" in ended.out

    await eventually(told, what="the difference is told")
    ended = await recibo("topics")
    applied = await recibo("topics", "--apply")
    again = await recibo("topics")

    (line,) = ended.told
    assert "recibo topics --apply" in line
    assert [one.split(" is ")[0].removeprefix(kafka.prefix) for one in ended.out.splitlines()] == [
        "webhooks.spill: flush.messages",
        "webhooks.spill: max.message.bytes",
        "webhooks.spill: message.timestamp.after.max.ms",
        "webhooks.spill: message.timestamp.type",
        "webhooks.spill: retention.ms",
    ]
    assert (applied.code, len(applied.out.splitlines()), applied.told) == (0, 5, [])
    assert f"altered {kafka.prefix}webhooks.spill: retention.ms = -1\n" in applied.out
    assert (again.code, again.out) == (0, "all topics are there\n")


async def test_with_fewer_brokers_than_replicas_topics_says_what_to_set(
    recibo: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "recibo.toml").write_text(CONFIG.replace("replicas = 1", "replicas = 2"))

    ended = await recibo("topics", RECIBO_TOPIC_PREFIX="none.")

    (line,) = ended.told
    assert (ended.code, ended.out) == (1, "")
    assert "on 2 brokers, and 1 of Kafka's work" in line and "replicas under [kafka]" in line


async def test_what_cannot_be_decided_or_retried_is_an_error_with_code_5_and_appends_nothing(
    recibo: CommandLine, database_url: str, kafka: Kafka
) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(connection, [admin_payment("pay_1", "APPROVED")])
    await _fold(database_url, kafka)

    ended = [
        await recibo("dispute", "shop:order:pay_1", "lost"),
        await recibo("dispute", "shop:order:pay_1", "lost", "--ordinal", "1"),
        await recibo("dispute", "shop:order:pay_2", "closed"),
        await recibo("quarantine", "retry", "1"),
        await recibo("parked", "retry", "shop:order:pay_1"),
    ]

    rows = await connection.fetchval("select count(*) from delivery_log")
    await connection.close()
    assert [(one.code, len(one.told), one.out) for one in ended] == [(5, 1, "")] * 5
    assert rows == 1


async def test_a_decision_goes_through_the_log_and_ends_the_latest_dispute(
    recibo: CommandLine, database_url: str, kafka: Kafka
) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(
        connection,
        [
            admin_payment("pay_1", "APPROVED", "2025-11-03T13:01:00Z"),
            admin_payment("pay_1", "IN_DISPUTE", "2025-11-03T13:02:00Z"),
        ],
    )
    await _fold(database_url, kafka)

    ended = await recibo("dispute", "shop:order:pay_1", "lost", "--note", "the bank's letter of today")
    await _fold(database_url, kafka)

    row = await connection.fetchrow("select source, root, body from delivery_log where position = 3")
    status = await connection.fetchval("select status from dispute_state")
    await connection.close()
    assert (ended.code, ended.out, ended.told) == (0, "main-3: shop:order:pay_1 lost\n", [])
    assert row is not None
    assert (row["source"], row["root"]) == ("operator", "shop:order:pay_1")
    assert orjson.loads(row["body"])["note"] == "the bank's letter of today"
    assert status == "lost"


async def test_what_is_set_aside_is_listed_and_retried(
    recibo: CommandLine, database_url: str, kafka: Kafka
) -> None:
    connection = await connect(database_url, application="test")
    readable = admin_payment("pay_1", "APPROVED")
    await append_batch(connection, [new_delivery(b"[1]"), new_delivery(readable.body, root=None)])
    async with connection.transaction():
        await append_setting_aside(connection, [new_delivery(b"never shown", root="\x00")])
    await _fold(database_url, kafka)

    listed = await recibo("quarantine", "list")
    retried = await recibo("quarantine", "retry")
    left = await recibo("quarantine", "list")

    orders = await connection.fetch("select root, status from order_state")
    await connection.close()
    assert "main-1" in listed.out and "main-2" in listed.out
    assert "refused-1" in listed.out and "22021" in listed.out and "never shown" not in listed.out
    assert retried.out == "folded: 1; still in quarantine or parked: 1\n"
    assert "main-1" in left.out and "main-2" not in left.out
    assert [tuple(row) for row in orders] == [("shop:order:pay_1", "paid")]


async def _fold(database_url: str, kafka: Kafka) -> None:
    await drain(relay_of("deliveries", database_url, kafka))
    owner = await asyncpg.connect(database_url)
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, await ends(owner))
    await owner.close()
