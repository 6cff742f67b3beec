"""Kafka's jars: fetched once by the coordinates in kafka-jars.lock, checked by sha256 at every start.

In: the lock and a folder. Out: the folder holds the locked jars and no others, or a LocalStackError names
those that are wrong, missing or extra. A fetch that fails or is killed leaves no such folder. Who put the
jars there does not matter: without a network, copy the folder from another checkout.
"""

import fcntl
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.localstack.errors import LocalStackError

LOCK = Path(__file__).with_name("kafka-jars.lock")

_FETCHES_AT_ONCE = 8
_FETCH_TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class Jar:
    """One line of the lock: `group:artifact:version` and the sha256 of its file."""

    coordinate: str
    sha256: str

    @property
    def version(self) -> str:
        return self.coordinate.split(":")[2]

    @property
    def file_name(self) -> str:
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_lock(lock: Path = LOCK) -> list[Jar]:
    """The jars of a lock, the broker's own first."""
    lines = (line.split() for line in lock.read_text().splitlines() if not line.startswith("#"))
    return [Jar(coordinate=coordinate, sha256=sha256) for coordinate, sha256 in lines]


def ensure(folder: Path, jars: Sequence[Jar]) -> None:
    """Fetch the jars unless the folder is there; insist in both cases on exactly them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(folder):
        if not folder.exists():
            _fetch(jars, folder)
        _insist(folder, jars)


def faults(folder: Path, jars: Sequence[Jar]) -> list[str]:
    """What keeps a folder from holding exactly these jars, each fault by file name; none when it does."""
    wanted = {jar.file_name: jar.sha256 for jar in jars}
    found = {path.name: sha256(path) for path in folder.glob("*.jar")}
    missing = [f"{name} is missing" for name in wanted if name not in found]
    wrong = [
        f"{name} is not the file that was locked"
        for name in wanted
        if found.get(name, wanted[name]) != wanted[name]
    ]
    extra = [f"{name} is not in the lock" for name in sorted(found.keys() - wanted.keys())]
    return [*missing, *wrong, *extra]


def sha256(path: Path) -> str:
    """The digest of a file, in hex as the lock holds it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(jars: Sequence[Jar], folder: Path) -> None:
    from jgo.maven import MavenContext  # noqa: PLC0415  A slow import that only the first start needs.

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as unfinished:
        context = MavenContext(repo_cache=Path(unfinished, "repository"), timeout=_FETCH_TIMEOUT_S)

        # One coordinate at a time and nothing resolved: the lock already says what Kafka needs.
        def fetch(jar: Jar) -> Path:
            group, artifact, version = jar.coordinate.split(":")
            return context.project(group, artifact).at_version(version).artifact().resolve()

        try:
            with ThreadPoolExecutor(_FETCHES_AT_ONCE) as threads:
                fetched = list(threads.map(fetch, jars))
        except Exception as error:  # jgo has no type of its own for what it could not fetch.
            raise LocalStackError("Kafka", f"its jars could not be fetched: {error}") from error

        finished = Path(unfinished, "jars")
        finished.mkdir()
        for path in fetched:
            path.rename(finished / path.name)
        _insist(finished, jars)
        finished.rename(folder)


def _insist(folder: Path, jars: Sequence[Jar]) -> None:
    if found := faults(folder, jars):
        raise LocalStackError("Kafka", f"{'; '.join(found)}. Remove {folder} to have its jars fetched again")


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
