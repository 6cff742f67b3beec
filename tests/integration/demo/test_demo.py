"""`recibo demo`, as a newcomer runs it: it keeps its promises, says so, and leaves nothing running."""

import asyncio
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import asyncpg
import orjson
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from service.demo.script import chapters
from service.localstack import Stack
from tests.servers import eventually

SENT = sum(len(chapter.deliveries) for chapter in chapters())
ROOTS = sum(chapter.root is not None for chapter in chapters())
EVENTS = sum(len(chapter.events) for chapter in chapters())

SUMMARY = {
    "deliveries_sent": SENT,
    "receipts": SENT - 1,
    "refused": 1,
    "quarantined": 1,
    "roots": ROOTS,
    "domain_events": EVENTS,
    "ok": True,
}


def test_it_sets_up_all_it_needs_keeps_its_promises_and_ends(tmp_path: Path) -> None:
    folder = tmp_path / "demo"

    with demo(folder, {"ONCE": "1"}) as process:
        output, complaints = process.communicate(timeout=240)

    assert process.returncode == 0, output + complaints
    assert summary(output) == SUMMARY
    assert complaints == ""
    assert processes_in(folder) == []
    assert secrets_in(folder, output) == []
    assert {stat.S_IMODE(path.stat().st_mode) for path in private(folder)} == {0o600}


def test_it_serves_until_ctrl_c_and_leaves_nothing_on_servers_that_are_lent(
    tmp_path: Path, stack: Stack
) -> None:
    with demo(tmp_path, lent(stack)) as process:
        output = read_until(process, "serving until Ctrl-C")
        answer = pasted(output)
        assert secrets_in(tmp_path, output) == ["barte_token"], "only the one in the line to paste"
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=60)

    assert answer == {"receipt": f"main-{SENT - 1 + decisions() + 1}"}
    assert process.returncode == 0, complaints
    assert summary(rest) == SUMMARY
    assert processes_in(tmp_path) == []
    asyncio.run(nothing_is_left_on(stack))


def test_a_sigterm_half_way_ends_all_that_was_started(tmp_path: Path, stack: Stack) -> None:
    with demo(tmp_path, lent(stack)) as process:
        read_until(process, "starting the roles")
        process.send_signal(signal.SIGTERM)
        rest, complaints = process.communicate(timeout=60)

    assert process.returncode == 1
    assert complaints == "recibo: stopped before it was done\n"
    assert summary(rest)["ok"] is False
    assert processes_in(tmp_path) == []
    asyncio.run(nothing_is_left_on(stack))


def test_a_role_that_dies_ends_the_demo_with_its_last_words(tmp_path: Path, stack: Stack) -> None:
    with demo(tmp_path, lent(stack)) as process:
        read_until(process, "starting the roles")
        kill_role(tmp_path, "relay")
        rest, complaints = process.communicate(timeout=60)

    assert process.returncode == 1
    assert complaints.startswith("recibo: the role relay ended with exit code -9. The last lines of ")
    assert summary(rest)["ok"] is False
    assert processes_in(tmp_path) == []


@contextmanager
def demo(folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`recibo demo` in `folder`; killed where the test left it running."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECIBO_")}
    with subprocess.Popen(
        [sys.executable, "-m", "service", "demo", "--folder", str(folder)],
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lent(stack: Stack) -> Mapping[str, str]:
    return {"RECIBO_DATABASE_URL": stack.database_url, "RECIBO_KAFKA_BOOTSTRAP": stack.kafka_bootstrap}


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What it printed up to the line with `text`."""
    output: IO[str] | None = process.stdout
    assert output is not None
    lines: list[str] = []
    for line in output:
        lines.append(line)
        if text in line:
            return "".join(lines)
    pytest.fail(f"it ended without {text!r}: {''.join(lines)}{process.communicate()[1]}")


def pasted(output: str) -> Any:
    """The answer to the line that is there to paste."""
    (line,) = re.findall(r"^ *(curl .*)$", output, re.MULTILINE)
    _curl, _options, url, _header, header, _data, body = shlex.split(line)
    name, value = header.split(": ")
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), {name: value})) as answer:  # noqa: S310
        return orjson.loads(answer.read())


def decisions() -> int:
    return sum(chapter.decision is not None for chapter in chapters())


def summary(output: str) -> Any:
    return orjson.loads(output.splitlines()[-1])


def private(folder: Path) -> list[Path]:
    return [*folder.glob("secrets/*"), folder / "join.sh"]


def secrets_in(folder: Path, output: str) -> list[str]:
    return sorted(path.name for path in folder.glob("secrets/*") if path.read_text() in output)


def kill_role(folder: Path, name: str) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        if f"serve {name}" in _command_of_one_in(folder, process):
            os.kill(int(process.name), signal.SIGKILL)
            return
    pytest.fail(f"no role {name} runs in {folder}")


def processes_in(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder or name it."""
    found = (_command_of_one_in(folder, process) for process in Path("/proc").glob("[0-9]*"))
    return [command for command in found if command]


def _command_of_one_in(folder: Path, process: Path) -> str:
    try:
        command = process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
        works_in = process.joinpath("cwd").readlink()
    except OSError:  # It has ended meanwhile.
        return ""
    return command if str(folder) in command or works_in.is_relative_to(folder) else ""


async def nothing_is_left_on(stack: Stack) -> None:
    """No demo's database, and no demo's topics."""
    connection = await asyncpg.connect(stack.database_url)
    databases = await connection.fetch("select datname from pg_database where datname like '%demo%'")
    await connection.close()
    assert databases == []
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()

    async def without_topics() -> bool:
        return not any("demo" in topic for topic in await admin.list_topics())

    try:
        # A broker lists a topic for a moment after it has agreed to delete it.
        await eventually(without_topics, what="no demo's topics are left")
    finally:
        await admin.close()
