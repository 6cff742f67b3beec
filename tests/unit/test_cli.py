"""The command line imports what a command needs, and finds every command."""

import subprocess
import sys

import pytest
import typer

from service.cli import application

COMMANDS = {
    "serve",
    "migrate",
    "topics",
    "status",
    "quarantine",
    "parked",
    "dispute",
    "show",
    "replay",
    "export",
    "simulate",
    "demo",
}


def known(application_: typer.Typer) -> set[str]:
    group = typer.main.get_command(application_)
    assert isinstance(group, typer.core.TyperGroup)
    return set(group.commands)


@pytest.mark.parametrize("words", [(), ("--help",), ("mgrate",)])
def test_whoever_names_no_command_sees_all_of_them(words: tuple[str, ...]) -> None:
    assert known(application(words)) == COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_is_found_when_it_is_named(command: str) -> None:
    assert command in known(application([command, "--help"]))


def test_an_analysts_command_does_not_import_the_ingress() -> None:
    program = (
        "import sys, service.cli as cli; cli.application(['replay']); sys.exit('aiohttp' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
