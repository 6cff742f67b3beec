"""Every error that Recibo raises on purpose, sorted by the caller's next move.

    ReciboError
    ├── ConfigurationError     the operator mends recibo.toml or the environment, then starts again
    ├── PermanentError         record it and go on: trying again gives the same answer
    │   └── DatumRefusedError      Postgres will never take this row as it is
    ├── TransientError         back off and try again
    │   └── OutcomeUnknownError    the connection was lost at commit: it may have happened
    └── InvariantError         stop: going on could lose or double something; a human decides

No message carries a secret, a header's value or a part of a body.
"""

from collections.abc import Sequence
from typing import Literal


class ReciboError(Exception):
    """Base of all errors raised on purpose; its text is one line that says what to do next."""


class ConfigurationError(ReciboError):
    """The settings are faulty. `faults` lists all of them, each naming the key and what it takes."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class PermanentError(ReciboError):
    """The same input would fail again: record it, go on."""


class DatumRefusedError(PermanentError):
    """Postgres refuses a value (SQLSTATE 22xxx, 23xxx, 54xxx); the store itself is well."""


class TransientError(ReciboError):
    """A store is away or busy: back off, then try again."""

    def __init__(self, message: str, *, store: Literal["postgres", "kafka"] | None = None) -> None:
        super().__init__(message)
        self.store = store
        """Which one, where that is known."""


class OutcomeUnknownError(TransientError):
    """The connection was lost while a commit was under way: it may or may not have happened."""


class InvariantError(ReciboError):
    """Something that must always hold does not: stop before anything is lost or doubled."""
