"""A stage for the tests of the fault suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stage import Stage
from tests.faults.stage import stage as stage_in


@pytest.fixture(scope="package")
def stage(run_folder: Path) -> Iterator[Stage]:
    """Servers that faults may take away."""
    with stage_in(run_folder / "faults") as servers:
        yield servers
