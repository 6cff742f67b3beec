"""Named points at which a test can kill, pause or fail this process, as a fault would.

`RECIBO_CRASHPOINT=relay.sent@3:stop` stops it with SIGSTOP when it comes by `relay.sent` the third
time. Without `@` it is the first time, without a deed it is `kill`. Where several in one process come
by the same point, `relay.sent/events` waits for the one of that name. Without the variable a crash
point is one comparison.
"""

import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

NAMES: Final = (
    "ingress.appended",
    "ingress.spilled",
    "drain.appended",
    "drain.committed",
    "relay.sent",
    "relay.checkpointed",
    "relay.committed",
    "projector.written",
    "projector.committed",
    "replay.spilled",
    "replay.bucket_written",
    "replay.bucket_folded",
    "replay.table_indexed",
    "replay.indexed",
    "replay.caught_up",
    "replay.positions_held",
    "replay.exchanged",
    "replay.swapped",
    "export.half_written",
    "export.file_written",
    "export.range_written",
    "export.manifest_written",
)
"""All there are: where each is, its call in the code tells."""


class CrashpointError(Exception):
    """Raised at a crash point that a test armed with `:raise`; nobody in the code expects it."""


def _kill() -> None:
    """As a power cut would."""
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    """As a machine that is swapped out would; SIGCONT ends it."""
    os.kill(os.getpid(), signal.SIGSTOP)


def _raise() -> None:
    raise CrashpointError(_NAME)


_DEEDS: Final[Mapping[str, Callable[[], None]]] = {"kill": _kill, "stop": _stop, "raise": _raise}


def _armed(text: str) -> tuple[str, int, Callable[[], None]]:
    point, _, deed = text.partition(":")
    name, _, times = point.partition("@")
    return name, int(times or 1), _DEEDS[deed or "kill"]


_NAME, _TIMES, _DEED = _armed(os.environ.get("RECIBO_CRASHPOINT", ""))
_POINT, _, _WHOSE = _NAME.partition("/")
_passed = 0


def crashpoint(name: str, *, of: str = "") -> None:
    """Die, stop or raise here if a test asks for it; `of` tells who of several comes by."""
    if name != _POINT or _WHOSE not in {"", of}:
        return
    global _passed  # noqa: PLW0603  One process, one count.
    _passed += 1
    if _passed == _TIMES:
        _DEED()
