"""Log lines: constant names, keys, and nothing that an exception quotes."""

import json
import subprocess
import sys

import prometheus_client

from service import telemetry
from service.errors import TransientError

_PERSONAL = "ana.exemplo@example.com"

_SCRIPT = f"""
import logging
import structlog
from service import telemetry

telemetry.configure()
structlog.get_logger().info("ingress.listening", port=8080)
try:
    raise KeyError("{_PERSONAL}")
except KeyError as error:
    structlog.get_logger().error("ingress.failed", exc_info=error)
    logging.getLogger("asyncio").error("Task failed", exc_info=True)
logging.getLogger("aiokafka").info("chatter")
"""


def test_every_line_is_one_json_object_without_what_an_exception_says() -> None:
    process = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True)

    listening, failed, of_library = (json.loads(line) for line in process.stderr.splitlines())
    assert (listening["event"], listening["level"], listening["port"]) == ("ingress.listening", "info", 8080)
    assert listening["timestamp"].endswith("Z")
    assert (failed["event"], failed["error"]) == ("ingress.failed", "KeyError")
    assert failed["where"][-1].endswith("<module>")
    assert (of_library["event"], of_library["error"]) == ("Task failed", "KeyError")
    assert process.stdout == ""
    assert _PERSONAL not in process.stderr


def test_our_own_errors_and_the_systems_words_are_kept() -> None:
    ours = telemetry.describe_exception(None, "error", {"event": "x", "exc_info": TransientError("away")})
    systems = telemetry.describe_exception(
        None, "error", {"event": "x", "exc_info": OSError(98, "Address already in use", _PERSONAL)}
    )

    assert ours["detail"] == "away"
    assert systems["detail"] == "Address already in use"


def test_every_metric_says_what_it_means_when_it_rises() -> None:
    ours = [metric for metric in prometheus_client.REGISTRY.collect() if metric.name.startswith("recibo_")]

    assert ours
    assert all(len(metric.documentation.split()) > 3 for metric in ours)
