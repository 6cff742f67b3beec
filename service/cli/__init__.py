"""The command line: `recibo`, also `python -m service`.

Exit codes: 0 done; 1 it failed, and trying again later may help; 2 the command was not understood;
3 a human must decide (something that must always hold does not); 4 the settings are faulty; 5 what
was asked for cannot be done, now or later.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import typer
from rich.console import Console

from service import telemetry
from service.errors import ConfigurationError, InvariantError, PermanentError, ReciboError

EXIT_FAILED: Final = 1
EXIT_HALTED: Final = 3
EXIT_MISCONFIGURED: Final = 4
EXIT_IMPOSSIBLE: Final = 5

_MODULES: Final = {
    "serve": ("serve",),
    "migrate": ("database",),
    "topics": ("database",),
    "status": ("status",),
    "quarantine": ("quarantine",),
    "parked": ("quarantine",),
    "dispute": ("dispute",),
    "show": ("show",),
    "replay": ("replay", "replay_folder"),
    "export": ("export",),
    "simulate": ("simulate",),
    "demo": ("demo",),
}
"""Where the commands are, in the order in which the help lists them."""


def application(words: Sequence[str] = ()) -> typer.Typer:
    """The command line with the command that `words` begin with; with all of them if it is none.

    Each starts sooner for not importing what only others need.
    """
    app = typer.Typer(
        name="recibo",
        help="The system of record for payment webhooks.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        epilog=(
            "Settings: recibo.toml (or the file that RECIBO_CONFIG names) and the environment; "
            "recibo.example.toml lists them. Exit codes: 0 done; 1 failed, trying again may help; "
            "2 not understood; 3 a human must decide; 4 faulty settings; 5 cannot be done."
        ),
    )
    # Else typer takes a lone command for the whole program.
    app.callback()(lambda: None)
    named = _MODULES.get(words[0]) if words else None
    every = dict.fromkeys(module for modules in _MODULES.values() for module in modules)
    for module in named or every:
        import_module(f"service.cli.{module}").register(app)
    return app


def main() -> None:
    """Run one command; a failure is one clear line on stderr and an exit code that means something."""
    # A command tells its outcome itself; `serve` turns the log lines on.
    telemetry.configure(level="critical")
    try:
        code = application(sys.argv[1:])(standalone_mode=False)
    except typer.TyperException as error:
        _tell_misunderstood(error)
        sys.exit(error.exit_code)
    except typer.Abort:
        sys.exit(EXIT_FAILED)
    except ConfigurationError as error:
        _tell(f"{len(error.faults)} faulty settings:" if len(error.faults) > 1 else "a faulty setting:")
        for fault in error.faults:
            _tell(f"  {fault}", named=False)
        sys.exit(EXIT_MISCONFIGURED)
    except ReciboError as error:
        _tell(str(error))
        sys.exit(_exit_code(error))
    # What typer itself ended with: 0 after --help, 130 after Ctrl-C.
    sys.exit(code if isinstance(code, int) else 0)


def _exit_code(error: ReciboError) -> int:
    if isinstance(error, InvariantError):
        return EXIT_HALTED
    if isinstance(error, PermanentError):
        return EXIT_IMPOSSIBLE
    return EXIT_FAILED


def _tell_misunderstood(error: typer.TyperException) -> None:
    # Empty where the help was printed instead, for want of any argument.
    if message := " ".join(error.format_message().split()).replace("Value error, ", "").rstrip("."):
        context: typer.Context | None = getattr(error, "ctx", None)
        path = "recibo" if context is None else context.command_path
        _tell(f"{message} (see `{path} --help`)")


def _tell(line: str, *, named: bool = True) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"recibo: {line}" if named else line, markup=False
    )
