"""Where a benchmark runs: servers, a database and topics of its own, roles as processes; and how it tells."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson
import uvloop

from service.localstack import LOCAL, Stack, running
from tests.servers import fresh_database, fresh_topics

KEY = "a secret of the benchmark"
"""In the environment as BENCH_KEY."""

Environment = dict[str, str]


def run(config: str, measure: Callable[[Environment], Awaitable[None]]) -> None:
    """Do `measure` with the environment of roles whose recibo.toml is `config`, on servers of its own."""
    with running(LOCAL / "bench") as servers:
        uvloop.run(_run(servers, config, measure))


async def _run(servers: Stack, config: str, measure: Callable[[Environment], Awaitable[None]]) -> None:
    async with fresh_database(servers.database_url) as url:
        kafka = await fresh_topics(servers.kafka_bootstrap)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "recibo.toml"
            path.write_text(config)
            await measure(
                os.environ
                | {
                    "BENCH_KEY": KEY,
                    "RECIBO_CONFIG": str(path),
                    "RECIBO_DATABASE_URL": url,
                    "RECIBO_KAFKA_BOOTSTRAP": servers.kafka_bootstrap,
                    "RECIBO_TOPIC_PREFIX": kafka.prefix,
                }
            )


@contextmanager
def role(
    name: str, environment: Environment, output: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """`recibo serve <name>` while the context is open; its log lines go to `output`, else to the terminal."""
    with process([sys.executable, "-m", "service", "serve", name], environment, output) as running_role:
        yield running_role


@contextmanager
def process(
    command: list[str], environment: Environment, output: IO[bytes] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """`command` while the context is open."""
    started = subprocess.Popen(command, env=environment, stderr=output)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


async def answers(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def tell(**measured: object) -> None:
    """One line of results."""
    print(orjson.dumps(measured).decode(), flush=True)
