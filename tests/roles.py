"""Roles as processes of their own, as in production, on a test's own database and topics."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from service.localstack.ports import free_port
from tests.servers import Kafka, eventually

CONFIG = """
[sources.shop]
provider = "admin"
checks = "none"

[relay]
poll_interval_s = 0.1
lock_poll_s = 0.05
retry_after_s = 0.1

[projector]
poll_timeout_s = 0.1
quiet_after_s = 0.5
retry_after_s = 0.1
"""
"""A source that anybody may post to, and little patience."""

NO_SPILL = """
[ingress]
append_timeout_s = 30.0
"""
"""For who looks for every delivery in the log: one append that takes long does not send it to the spill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A running role."""

    process: asyncio.subprocess.Process
    port: int
    """The ingress's; of every other role its health port."""
    log: Path

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()

    async def stop(self) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def killed(self) -> None:
        """Return once it has died of SIGKILL: the crash point was reached."""
        code = await asyncio.wait_for(self.process.wait(), 60)
        assert code == -signal.SIGKILL, f"exit code {code}: {self.log.read_text()[-2000:]}"


@asynccontextmanager
async def role(
    name: str,
    database_url: str,
    kafka: Kafka,
    folder: Path,
    *,
    crashpoint: str = "",
    config: str = CONFIG,
    descriptors: int | None = None,
) -> AsyncIterator[Process]:
    """`recibo serve <name>` once it is healthy (at once with a crash point); ended with the context.

    `descriptors` is the hard limit of those that it may have open.
    """
    port = free_port()
    path = folder / "recibo.toml"
    path.write_text(config)
    log = folder / f"{name}-{port}.log"
    environment = os.environ | {
        "RECIBO_DATABASE_URL": database_url,
        "RECIBO_KAFKA_BOOTSTRAP": kafka.bootstrap,
        "RECIBO_TOPIC_PREFIX": kafka.prefix,
        "RECIBO_CONFIG": str(path),
        "RECIBO_HTTP_PORT" if name == "ingress" else "RECIBO_HEALTH_PORT": str(port),
        "RECIBO_CRASHPOINT": crashpoint,
    }
    command = [sys.executable, "-m", "service", "serve", name]
    if descriptors is not None:
        command = ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(descriptors), *command]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=output, stderr=output
        )
    running = Process(process=process, port=port, log=log)
    try:
        if not crashpoint:
            await eventually(lambda: _healthy(running), what=f"{name} is healthy")
        yield running
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _healthy(running: Process) -> bool:
    assert running.process.returncode is None, running.log.read_text()[-2000:]
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{running.port}/health") as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def resident_mb(pid: int) -> int:
    """The memory of a process; 0 of one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:")), 0)


def family(pid: int) -> list[int]:
    """The process, its children and theirs."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid, *(each for child in children for each in family(int(child)))]
