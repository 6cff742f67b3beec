"""A wheel is whole: it has every file that the code reads, and migrates a database by itself."""

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from service import migrations
from service.localstack import Stack
from tests.commands import environment
from tests.servers import empty_database

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    code, said = _python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=CHECKOUT)
    assert code == 0, said
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
async def empty(stack: Stack) -> AsyncIterator[str]:
    async with empty_database(stack.database_url) as url:
        yield url


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """Where the wheel is installed, alone: what it depends on is the environment's."""
    folder = tmp_path / "installed"
    code, said = _python(
        *("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-cache-dir"),
        *("--target", str(folder), str(wheel)),
        cwd=tmp_path,
    )
    assert code == 0, said
    return folder


def test_a_wheel_has_every_file_of_the_packages_and_every_migration(wheel: Path) -> None:
    expected = {
        path.relative_to(CHECKOUT).as_posix()
        for package in ("service", "projections")
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    expected |= {f"service/_migrations/{path.name}" for path in (CHECKOUT / "migrations").iterdir()}

    with ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert found == expected
    assert {".sql", ".toml", ".lock", ".typed"} <= {Path(name).suffix for name in found}


def test_an_installed_wheel_migrates_a_database(installed: Path, empty: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    variables = environment(empty, elsewhere, PYTHONPATH=str(installed))

    where = _python("-c", "import service; print(service.__file__)", cwd=elsewhere, env=variables)
    first = _python("-m", "service", "migrate", cwd=elsewhere, env=variables)
    again = _run([str(installed / "bin" / "recibo"), "migrate"], cwd=elsewhere, env=variables)

    expected = [each.name for each in migrations.migrations(CHECKOUT / "migrations")]
    assert where == (0, f"{installed}/service/__init__.py\n")
    assert first == (0, "".join(f"applied {each}\n" for each in expected))
    assert again == (0, "the schema is up to date\n")


def test_an_installation_without_migrations_never_calls_a_schema_up_to_date(
    installed: Path, stack: Stack, tmp_path: Path
) -> None:
    for path in (installed / "service" / "_migrations").iterdir():
        path.unlink()

    code, said = _python(
        *("-m", "service", "migrate"),
        cwd=tmp_path,
        env=environment(stack.database_url, tmp_path, PYTHONPATH=str(installed)),
    )

    assert code == 5
    assert "there are no migrations in" in said
    assert said.count("\n") == 1


def _python(*words: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    return _run([sys.executable, *words], cwd=cwd, env=env)


def _run(words: Sequence[str], *, cwd: Path, env: dict[str, str] | None) -> tuple[int, str]:
    """The exit code of a command, and all that it said."""
    done = subprocess.run(
        words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.returncode, done.stdout
