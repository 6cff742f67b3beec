"""Named points at which a test can kill this process, as a power cut would.

`RECIBO_CRASHPOINT=relay.sent@3` kills it with SIGKILL when it comes by `relay.sent` the third time.
Without the variable a crash point is one comparison.
"""

import os
import signal
from typing import Final


def _armed(text: str) -> tuple[str, int]:
    name, _, times = text.partition("@")
    return name, int(times or 1)


_NAME, _TIMES = _armed(os.environ.get("RECIBO_CRASHPOINT", ""))
_passed = 0

NAMES: Final = (
    "ingress.appended",
    "relay.sent",
    "relay.checkpointed",
    "relay.committed",
    "projector.written",
    "projector.committed",
)
"""All there are: where each is, its call in the code tells."""


def crashpoint(name: str) -> None:
    """Die here if a test asks for it."""
    if name != _NAME:
        return
    global _passed  # noqa: PLW0603  One process, one count.
    _passed += 1
    if _passed == _TIMES:
        os.kill(os.getpid(), signal.SIGKILL)
