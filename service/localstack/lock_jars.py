"""Write kafka-jars.lock for a release of Kafka: `python -m service.localstack.lock_jars 4.4.0`.

In: a version. Out: the lock, one line per jar. The broker's own jars are resolved from one coordinate; with
a second one beside it, jgo's resolver would take kafka-clients down to what that one's parent manages. So
the logging binding, without which the broker is silent, is added to what was resolved.
"""

import sys
import tempfile
from pathlib import Path

from jgo.maven import Artifact, MavenContext

from service.localstack.jars import LOCK, sha256

_BROKER = "org.apache.kafka:kafka_2.13"
_LOGGING = "org.apache.logging.log4j"

_HEADER = f"""\
# What the embedded Kafka runs on: Maven coordinate and sha256 of each jar, all of them and nothing else.
# The dependencies of {_BROKER}, with {_LOGGING}:log4j-slf4j-impl so that the broker logs.
# Written by `make lock-kafka VERSION=…`.
"""


def main(version: str) -> None:
    """Resolve a release, fetch its jars once and write down what they are."""
    with tempfile.TemporaryDirectory() as repository:
        context = MavenContext(repo_cache=Path(repository))
        resolved = _broker_jars(context, version)
        logging = next(jar for jar in resolved if jar.artifactId == "log4j-core")
        binding = context.project(_LOGGING, "log4j-slf4j-impl").at_version(logging.version).artifact()
        LOCK.write_text(_HEADER + "".join(_line(jar) for jar in [*resolved, binding]))


def _broker_jars(context: MavenContext, version: str) -> list[Artifact]:
    broker = context.create_dependency(f"{_BROKER}:{version}")
    direct, transitive = context.resolver.resolve([broker])
    needed = [dependency.artifact for dependency in transitive if dependency.scope in {"compile", "runtime"}]
    return [*(dependency.artifact for dependency in direct), *needed]


def _line(jar: Artifact) -> str:
    return f"{jar.groupId}:{jar.artifactId}:{jar.version} {sha256(jar.resolve())}\n"


if __name__ == "__main__":
    main(sys.argv[1])
