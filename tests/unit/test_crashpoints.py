"""Crash points: each in the code is listed, and each deed is what it says."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import service
from service import crashpoints


def _in_the_code() -> Iterator[str]:
    for path in Path(service.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "crashpoint"
            ):
                (name,) = node.args
                assert isinstance(name, ast.Constant), f"{path}: a crash point's name is a literal"
                yield str(name.value)


def test_every_crash_point_in_the_code_is_listed_once() -> None:
    assert sorted(_in_the_code()) == sorted(crashpoints.NAMES)


def _passing(armed: str) -> "subprocess.Popen[str]":
    script = (
        "from service.crashpoints import crashpoint\n"
        "for _ in range(3): crashpoint('relay.sent', of='events'); print('by', flush=True)"
    )
    environment = os.environ | {"RECIBO_CRASHPOINT": armed}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("armed", "passed", "code"),
    [
        ("", 3, 0),
        ("relay.committed", 3, 0),
        ("relay.sent", 0, -signal.SIGKILL),
        ("relay.sent@3", 2, -signal.SIGKILL),
        ("relay.sent@2:kill", 1, -signal.SIGKILL),
        ("relay.sent@2:raise", 1, 1),
        ("relay.sent/events@2", 1, -signal.SIGKILL),
        ("relay.sent/deliveries", 3, 0),
    ],
)
def test_a_process_gets_as_far_as_its_crash_point(armed: str, passed: int, code: int) -> None:
    with _passing(armed) as process:
        output, errors = process.communicate(timeout=60)

    assert output.count("by") == passed
    assert process.returncode == code
    assert ("CrashpointError" in errors) == armed.endswith(":raise")


def test_a_stopped_process_goes_on_when_told_to() -> None:
    with _passing("relay.sent@2:stop") as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)

        process.send_signal(signal.SIGCONT)
        output, _ = process.communicate(timeout=60)

    assert os.WIFSTOPPED(status)
    assert output.count("by") == 3
