"""The servers that integration and guarantee tests share."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from service import telemetry
from service.localstack import LOCAL, Stack, running
from tests.brokers import java_options
from tests.servers import Kafka, fresh_database, fresh_topics

# Spark has an environment of its own: `make test-spark`.
collect_ignore = [] if find_spec("pyspark") else ["spark"]


@pytest.fixture(scope="session", autouse=True)
def logging_is_the_tests_own() -> Iterator[None]:
    """No command that a test runs in this process silences the log lines that other tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telemetry, "configure", lambda **_: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def brokers_start_fast(request: pytest.FixtureRequest) -> Iterator[None]:
    """Kafka starts in a third of the time; where there are unit tests alone, none is started."""
    if all("unit" in item.path.parts for item in request.session.items):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JDK_JAVA_OPTIONS", java_options())
        yield


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """What the servers of this run write is in here, and stays when a test failed."""
    _remove_folders_of_ended_runs()
    folder = LOCAL / f"test-{os.getpid()}"
    yield folder
    if not request.session.testsfailed:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(run_folder: Path) -> Iterator[Stack]:
    """One Postgres and one Kafka for the whole run."""
    with running(run_folder / "shared") as servers:
        yield servers


@pytest.fixture
async def database_url(stack: Stack) -> AsyncIterator[str]:
    """The URL, as owner, of a migrated database that only this test uses."""
    async with fresh_database(stack.database_url) as url:
        yield url


@pytest.fixture
async def kafka(stack: Stack) -> Kafka:
    """All topics, under a prefix that only this test uses."""
    return await fresh_topics(stack.kafka_bootstrap)


def _remove_folders_of_ended_runs() -> None:
    for folder in LOCAL.glob("test-*"):
        if not Path("/proc", folder.name.removeprefix("test-")).exists():
            # The other half of `make test -j2` may be removing the same one.
            shutil.rmtree(folder, ignore_errors=True)
