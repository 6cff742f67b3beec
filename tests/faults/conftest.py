"""A stage for the tests of the fault suite."""

import os
import shutil
from collections.abc import Iterator

import pytest

from service.localstack import LOCAL
from tests.faults.stage import Stage
from tests.faults.stage import stage as stage_in


@pytest.fixture(scope="package")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Servers that faults may take away; their folder stays when a test failed."""
    folder = LOCAL / f"test-{os.getpid()}" / "faults"
    with stage_in(folder) as servers:
        yield servers
    if not request.session.testsfailed:
        shutil.rmtree(folder)
