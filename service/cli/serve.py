"""`recibo serve`: run one role or several in this process."""

import sys
from typing import Annotated

import typer

from service import runtime, telemetry, wiring
from service.cli import settings


def register(app: typer.Typer) -> None:
    """Mount the command."""
    app.command()(serve)


def serve(
    roles: Annotated[
        list[str], typer.Argument(metavar="ROLE", help=f"What to run: {', '.join(wiring.ROLES)}.")
    ],
) -> None:
    """Run roles until SIGTERM or Ctrl-C.

    In production each role is a process of its own; relay, projector and drain may run several times.
    """
    unknown = [role for role in roles if role not in wiring.ROLES]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(wiring.ROLES)}", param_hint="ROLE"
        )
    loaded = settings.load()
    telemetry.configure(level=loaded.log_level)
    # Once each: a role twice in one process would want the same port, lock or group twice.
    names = list(dict.fromkeys(roles))
    sys.exit(runtime.run(lambda: wiring.roles(names, loaded), loaded.health))
