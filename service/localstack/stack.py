"""Postgres and Kafka for one run: started together, lent to the caller, stopped.

In: a folder for this run's data; what an earlier run left there is removed. Out: where the two answer.
Leaving the context ends both, whatever the way; so does the death of the process. Data and logs stay, for
whoever wants to look.

With RECIBO_DATABASE_URL or RECIBO_KAFKA_BOOTSTRAP in the environment that one is used as it is, and neither
started nor stopped.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from service.localstack.errors import FolderInUseError
from service.localstack.kafka import Kafka
from service.localstack.postgres import Postgres

LOCAL: Final = Path(__file__).parents[2] / ".local"
"""Where this checkout keeps all that it fetches or writes."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Where the two servers answer."""

    database_url: str
    """A superuser's, on the database `recibo`."""
    kafka_bootstrap: str


@contextmanager
def running(folder: Path, *, on_progress: Callable[[str], None] = lambda _: None) -> Iterator[Stack]:
    """Both servers, answering. Enter it from a thread that outlives them and runs no event loop."""
    with ExitStack() as at_exit:
        at_exit.enter_context(_fresh(folder))
        postgres = _given("RECIBO_DATABASE_URL") or Postgres(folder)
        kafka = _given("RECIBO_KAFKA_BOOTSTRAP") or Kafka(folder, LOCAL, on_progress)
        on_progress("starting Postgres and Kafka")
        for server in (postgres, kafka):
            at_exit.callback(server.stop)
            server.prepare()
        for server in (postgres, kafka):
            server.launch()
        yield Stack(database_url=postgres.wait(), kafka_bootstrap=kafka.wait())


class _Server(Protocol):
    def prepare(self) -> None: ...
    def launch(self) -> None: ...
    def wait(self) -> str: ...
    def stop(self) -> None: ...


@dataclass(frozen=True)
class _Given:
    """A server that somebody else runs."""

    address: str

    def prepare(self) -> None:
        pass

    def launch(self) -> None:
        pass

    def wait(self) -> str:
        return self.address

    def stop(self) -> None:
        pass


def _given(variable: str) -> _Server | None:
    address = os.environ.get(variable)
    return _Given(address) if address else None


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """Hold the folder, so that no second run removes what this one works on; begin with it empty."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(folder) from None
        for left in folder.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != "lock":
                left.unlink()
        yield
