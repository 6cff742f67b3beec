"""What the log keeps of headers: every name, few values, nothing that Postgres refuses."""

import orjson
import pytest
from multidict import CIMultiDict

from service.ingress.headers import WITHHELD, stored_headers

KEPT = frozenset({"content-type", "user-agent"})


def stored(*headers: tuple[str, str]) -> object:
    return orjson.loads(stored_headers(CIMultiDict(headers).items(), KEPT))


def test_every_name_is_kept_in_lower_case_and_only_allowed_values() -> None:
    assert stored(
        ("Content-Type", "application/json"), ("Authorization", "token"), ("X-Signature", "abc")
    ) == {
        "content-type": "application/json",
        "authorization": WITHHELD,
        "x-signature": WITHHELD,
    }


def test_repeats_are_joined() -> None:
    assert stored(("User-Agent", "a"), ("user-agent", "b"), ("X-Other", "1"), ("X-Other", "2")) == {
        "user-agent": "a, b",
        "x-other": WITHHELD,
    }


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("a\x00b", "a\\x00b"),
        ("a\udcffb", "a\\xffb"),
        ("tab\there", "tab\\x09here"),
        ("C:\\x00", "C:\\\\x00"),
        ("\ud800", "\\ud800"),
        ("café", "café"),
        ("", ""),
    ],
)
def test_what_text_cannot_hold_is_escaped_and_nothing_else_reads_the_same(value: str, escaped: str) -> None:
    assert stored(("User-Agent", value)) == {"user-agent": escaped}
