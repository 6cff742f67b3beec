"""The ledger and the log lines as files: what is read of them, and what a crash may have cut off."""

import base64
import hashlib
from pathlib import Path

import orjson

from tests.checker.accounts import Request
from tests.checker.stores import requests, unknown_outcomes
from tests.checker.topics import partition

BODY = b'{"id": 1}'
DIGEST = hashlib.sha256(BODY).digest()
LINE = {
    "sequence": 1,
    "attempt": 1,
    "source": "shop",
    "kind": None,
    "sent_at": "2025-11-03T13:00:00Z",
    "body": base64.b64encode(BODY).decode(),
    "body_sha256": "not believed",
    "mutation": "none",
    "status": 200,
    "error": None,
    "receipt": "main-1",
}


def test_a_ledgers_cut_off_line_is_left_out(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.write_bytes(orjson.dumps(LINE) + b"\n" + orjson.dumps(LINE)[:50])

    assert list(requests(ledger)) == [Request("shop", None, DIGEST, 200, "main-1")]


def test_unknown_outcomes_are_found_as_json_and_as_a_person_sees_them(tmp_path: Path) -> None:
    lines = tmp_path / "ingress.log"
    told = {"body_sha256": DIGEST.hex(), "attempt": 1, "event": "ingress.outcome_unknown"}
    lines.write_bytes(
        orjson.dumps(told)
        + f"\n[\x1b[33mwarning\x1b[0m] \x1b[1mingress.outcome_unknown\x1b[0m attempt=\x1b[35m2\x1b[0m"
        f" body_sha256=\x1b[35m{DIGEST.hex()}\x1b[0m\n".encode()
        + b'{"event": "ingress.appended", "body_sha256": "'
        + DIGEST.hex().encode()
        + b'"}\n'
        + b'{"event": "ingress.outcome_unknown", "body_sha'
    )

    assert list(unknown_outcomes(lines)) == [DIGEST, DIGEST]


def test_a_key_goes_where_kafkas_own_partitioner_puts_it() -> None:
    # Kafka's own vectors (UtilsTest.testMurmur2): -973932308 of "21", -790332482 of "foobar".
    assert partition("21", 12) == (-973932308 & 0x7FFFFFFF) % 12
    assert partition("foobar", 12) == (-790332482 & 0x7FFFFFFF) % 12
