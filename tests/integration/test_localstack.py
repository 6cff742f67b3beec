"""The local stack is what it says: real servers, the locked jars, nothing left behind."""

import hashlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.protocol.metadata import MetadataRequest

from service.localstack import LocalStackError, Stack, jars, kafka, running
from service.localstack.errors import FolderInUseError
from service.localstack.jars import Jar
from service.localstack.ports import free_port


async def test_postgres_keeps_what_it_confirms(stack: Stack) -> None:
    connection = await asyncpg.connect(stack.database_url)

    settings = await connection.fetch(
        "select name, setting from pg_settings"
        " where name in ('fsync', 'full_page_writes', 'synchronous_commit') order by name"
    )
    await connection.close()

    assert [setting for _, setting in settings] == ["on", "on", "on"]


async def test_kafka_shows_a_committed_transaction_and_never_an_aborted_one(stack: Stack) -> None:
    topic = await _create_topic(stack)
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, transactional_id=f"{topic}-writer")
    await producer.start()

    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"aborted")
    await producer.abort_transaction()
    await producer.begin_transaction()
    await producer.send_and_wait(topic, b"committed")
    await producer.commit_transaction()
    await producer.stop()

    assert await _first_committed(stack, topic) == b"committed"


async def test_kafka_makes_no_topic_that_nobody_created(stack: Stack) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()

    # In the manner that makes it where a broker creates what it is asked for.
    answer = await admin._client.send(
        admin._client.get_random_node(),
        MetadataRequest([f"never-created-{uuid.uuid4().hex}"], allow_auto_topic_creation=True),
    )
    await admin.close()

    assert [error for error, *_ in answer.topics] == [UnknownTopicOrPartitionError.errno]


def test_servers_that_somebody_else_runs_are_used_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECIBO_DATABASE_URL", "postgresql://elsewhere/recibo")
    monkeypatch.setenv("RECIBO_KAFKA_BOOTSTRAP", "elsewhere:9092")

    with running(tmp_path) as given:
        started = _processes_in(tmp_path)

    assert given == Stack(database_url="postgresql://elsewhere/recibo", kafka_bootstrap="elsewhere:9092")
    assert started == []


def test_a_port_is_given_out_once_although_nothing_listens_there_yet() -> None:
    given = [free_port() for _ in range(1_000)]

    assert len(set(given)) == len(given)


def test_a_port_that_another_process_was_given_is_passed_over() -> None:
    taken, other = free_port(), 32_500
    script = (
        "import sys; from service.localstack import ports; ports._NEXT = map(int, sys.argv[1:]); "
        "print(ports.free_port())"
    )
    command = [sys.executable, "-c", script, str(taken), str(other)]

    given = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert int(given) == other


def test_a_broker_that_does_not_start_is_told_with_its_last_words_and_the_other_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECIBO_DATABASE_URL", "postgresql://elsewhere/recibo")
    monkeypatch.delenv("RECIBO_KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.setitem(kafka._SETTINGS, "process.roles", "bystander")

    with pytest.raises(LocalStackError) as failure, running(tmp_path):
        pass

    assert failure.value.piece == "Kafka"
    assert "bystander" in str(failure.value)
    assert "RECIBO_KAFKA_BOOTSTRAP" in str(failure.value)


def test_a_folder_in_which_a_stack_runs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIBO_DATABASE_URL", "postgresql://elsewhere/recibo")
    monkeypatch.setenv("RECIBO_KAFKA_BOOTSTRAP", "elsewhere:9092")

    with running(tmp_path), pytest.raises(FolderInUseError, match=str(tmp_path)), running(tmp_path):
        pass


class TestJars:
    """Nothing runs but the files that the lock names."""

    LOCKED = (
        Jar(coordinate="org.example:broker:4.4.0", sha256=hashlib.sha256(b"broker").hexdigest()),
        Jar(coordinate="org.example:codec:1.2", sha256=hashlib.sha256(b"codec").hexdigest()),
    )

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The locked jars, as they were locked."""
        tmp_path.joinpath("broker-4.4.0.jar").write_bytes(b"broker")
        tmp_path.joinpath("codec-1.2.jar").write_bytes(b"codec")
        return tmp_path

    def test_the_locked_ones_pass(self, folder: Path) -> None:
        jars.ensure(folder, self.LOCKED)

    def test_one_with_another_content_is_refused_by_name(self, folder: Path) -> None:
        folder.joinpath("codec-1.2.jar").write_bytes(b"another codec")

        with pytest.raises(LocalStackError, match=r"codec-1\.2\.jar is not the file that was locked"):
            jars.ensure(folder, self.LOCKED)

    def test_a_missing_one_is_named(self, folder: Path) -> None:
        folder.joinpath("codec-1.2.jar").unlink()

        with pytest.raises(LocalStackError, match=r"codec-1\.2\.jar is missing"):
            jars.ensure(folder, self.LOCKED)

    def test_one_that_nobody_locked_is_named(self, folder: Path) -> None:
        folder.joinpath("codec-1.1.jar").write_bytes(b"codec")

        with pytest.raises(LocalStackError, match=r"codec-1\.1\.jar is not in the lock"):
            jars.ensure(folder, self.LOCKED)


class TestEnding:
    """Whatever ends the process that started the servers ends them too."""

    @pytest.mark.parametrize(
        "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name
    )
    def test_servers_that_answer_do_not_outlive_their_parent(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        with _in_the_foreground(tmp_path) as parent:
            addresses = _first_lines(parent, 2)

            parent.send_signal(number)
            parent.wait(60)

        assert [line.split("=")[0] for line in addresses] == [
            "export RECIBO_DATABASE_URL",
            "export RECIBO_KAFKA_BOOTSTRAP",
        ]
        _wait_until_no_process_is_in(tmp_path)

    def test_servers_still_starting_do_not_outlive_their_parent(self, tmp_path: Path) -> None:
        with _in_the_foreground(tmp_path) as parent:
            while not _processes_in(tmp_path / "postgres"):
                time.sleep(0.01)

            parent.kill()
            parent.wait(60)

        _wait_until_no_process_is_in(tmp_path)


async def _create_topic(stack: Stack) -> str:
    topic = f"test-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()
    return topic


async def _first_committed(stack: Stack, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=stack.kafka_bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    try:
        record = await consumer.getone()
    finally:
        await consumer.stop()
    value: bytes | None = record.value
    return value


def _in_the_foreground(folder: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RECIBO_")}
    return subprocess.Popen(
        [sys.executable, "-m", "service.localstack", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _first_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(count)]


def _wait_until_no_process_is_in(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while left := _processes_in(folder):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.02)


def _processes_in(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
            works_in = process.joinpath("cwd").readlink()
        except OSError:  # It has ended meanwhile.
            continue
        if str(folder) in command or works_in.is_relative_to(folder):
            found.append(command)
    return found
