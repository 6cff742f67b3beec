"""Fold an exported folder on Apache Spark: the same fold, on as many machines as there are.

The driver hands out buckets, a task folds one: it reads the bucket's files side by side, joins the facts
of each root and writes the states. All facts of a root are in one bucket, so nothing is shuffled, and no
row passes through the driver or the JVM but a line on what each bucket came to.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from service.errors import InvariantError, ReciboError
from service.exported.directory import Directory
from service.exported.fold import Folded, buckets_of, fold_bucket
from service.exported.manifest import NOW, AsOf, Manifest

_COLUMNS: Final = "folded binary, fault string"


@contextmanager
def session(master: str | None) -> Iterator[SparkSession]:
    """A session on `master`; without one that of spark-submit, else this machine's cores."""
    # The workers must run this very Python: `projections` and the extra are installed there.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("recibo replay").config(map=_SETTINGS)
    if master is not None:
        builder = builder.master(master)
    opened = builder.getOrCreate()
    try:
        yield opened
    finally:
        opened.stop()


def fold(
    spark: SparkSession,
    folder: Directory,
    manifest: Manifest,
    *,
    into: Directory | None = None,
    as_of: AsOf = NOW,
) -> Folded:
    """Fold everything that `manifest` names; the states go `into` a folder, or nowhere."""
    sofar = Folded()
    for row in plan(spark, folder, manifest, into=into, as_of=as_of).collect():
        if row.fault is not None:
            raise InvariantError(row.fault)
        sofar += msgspec.msgpack.decode(row.folded, type=Folded)
    return sofar


def plan(
    spark: SparkSession,
    folder: Directory,
    manifest: Manifest,
    *,
    into: Directory | None = None,
    as_of: AsOf = NOW,
) -> DataFrame:
    """What `fold` runs: a row for each bucket, on what it came to or why it could not be folded."""
    buckets = len(buckets_of(manifest))
    task = _task(folder.url, manifest, None if into is None else into.url, as_of)
    # One partition per bucket: `range` cuts its numbers evenly, so each gets exactly one.
    return spark.range(0, buckets, 1, numPartitions=buckets).mapInArrow(task, _COLUMNS)


def _task(
    url: str, manifest: Manifest, into: str | None, as_of: AsOf
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def fold_buckets(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for bucket in batch.column(0).to_pylist():
                target = None if into is None else Directory(into)
                try:
                    folded = fold_bucket(Directory(url), manifest, bucket, into=target, as_of=as_of)
                    yield _result(msgspec.msgpack.encode(folded), None)
                except ReciboError as error:
                    # Told by the driver in one line; raised here it would be tried again, four times.
                    yield _result(None, str(error))

    return fold_buckets


def _result(folded: bytes | None, fault: str | None) -> pa.RecordBatch:
    return pa.record_batch(
        {"folded": pa.array([folded], pa.binary()), "fault": pa.array([fault], pa.string())}
    )


_SETTINGS: Final = {
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}
