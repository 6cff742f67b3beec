"""On Spark the same fold gives the same states, byte for byte, without a shuffle.

`make test-spark` runs these, in an environment that has PySpark; they need a JDK.
"""

import asyncio
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import orjson
import pytest
from pyspark.sql import SparkSession

from service.errors import InvariantError
from service.exported import pool, spark
from service.exported.directory import Directory
from service.exported.manifest import FACTS, NAME, AsOf
from tests.exports import CONFIG, contents, export_made_up, recibo

COUNT = 3_000


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Directory:
    folder = tmp_path_factory.mktemp("exported")
    asyncio.run(export_made_up(COUNT, folder))
    return Directory(str(folder))


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    with spark.session("local[2]") as opened:
        yield opened


def test_its_states_are_those_of_the_local_replay(
    session: SparkSession, exported: Directory, tmp_path: Path
) -> None:
    local, cluster = Directory(str(tmp_path / "local")), Directory(str(tmp_path / "cluster"))
    manifest = exported.export()

    here = pool.fold(exported, manifest, into=local)
    there = spark.fold(session, exported, manifest, into=cluster)

    assert there.rows == manifest.rows()[FACTS]
    assert sorted(there.contents) == sorted(here.contents) == manifest.contents()
    assert contents(tmp_path / "cluster") == contents(tmp_path / "local")


def test_as_of_an_instant_too(session: SparkSession, exported: Directory) -> None:
    manifest = exported.export()
    as_of = AsOf(known_at=manifest.ranges[2].ended_at, effective_at=manifest.ranges[1].ended_at)

    here = pool.fold(exported, manifest, as_of=as_of)
    there = spark.fold(session, exported, manifest, as_of=as_of)

    assert sorted(there.contents) == sorted(here.contents) != manifest.contents()


def test_nothing_is_shuffled(session: SparkSession, exported: Directory) -> None:
    manifest = exported.export()

    planned = spark.plan(session, exported, manifest)

    with redirect_stdout(StringIO()) as told:
        planned.explain(mode="extended")
    assert "MapInArrow" in told.getvalue()
    assert "Exchange" not in told.getvalue()
    assert planned.rdd.getNumPartitions() == manifest.layout.buckets


def test_a_harmed_file_is_one_clear_error(session: SparkSession, tmp_path: Path) -> None:
    asyncio.run(export_made_up(500, tmp_path))
    harmed = Directory(str(tmp_path))
    manifest = harmed.export()
    (tmp_path / manifest.of(FACTS)[0].path).unlink()

    with pytest.raises(InvariantError, match="is missing"):
        spark.fold(session, harmed, manifest)


async def test_the_command_says_that_the_states_are_equal(exported: Directory, tmp_path: Path) -> None:
    code, told = await _replay(exported, tmp_path, "--into", str(tmp_path / "cluster"))

    assert code == 0, told
    summary = orjson.loads(told.splitlines()[-1])
    assert (summary["equal"], summary["rows"]) == (True, exported.export().rows()[FACTS])
    pool.fold(exported, exported.export(), into=Directory(str(tmp_path / "local")))
    written = contents(tmp_path / "cluster")
    assert {name: data for name, data in written.items() if name != NAME} == contents(tmp_path / "local")
    assert Directory(str(tmp_path / "cluster")).export().contents() == exported.export().contents()


@pytest.mark.parametrize(
    ("instant", "said"), [("2200-01-01", "is in the future"), ("2001-01-01", "is before the log")]
)
async def test_the_command_refuses_an_instant_that_the_folder_cannot_know(
    exported: Directory, tmp_path: Path, instant: str, said: str
) -> None:
    code, told = await _replay(exported, tmp_path, "--known-at", instant)

    assert (code, said in told) == (5, True), told


async def _replay(exported: Directory, folder: Path, *words: str) -> tuple[int, str]:
    config = folder / "recibo.toml"
    config.write_text(CONFIG)
    return await recibo(
        "postgresql://localhost:1/none",
        config,
        "replay",
        "spark",
        exported.url,
        "--master",
        "local[2]",
        *words,
    )
