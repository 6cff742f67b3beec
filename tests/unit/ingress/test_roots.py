"""Reading a root never raises and never says what stood in the body."""

import pytest

from projections.facts import Unreadable
from projections.providers.documents import NOT_AN_OBJECT, NOT_JSON, NOT_UTF8
from service.ingress.roots import ADAPTER_FAILED, Unrooted, read_root
from service.settings import Source

SOURCE = Source(name="shop", provider="barte", account="main", checks=())


def root_of(provider: str, account: str, document: object, kind: str | None) -> str:
    assert isinstance(document, dict)
    match document.get("id"):
        case None:
            raise Unreadable("id: missing")
        case int():
            raise ZeroDivisionError("a bug that quotes 12345678909")
        case id_:
            return f"{account}:order:{provider}:{id_}:{kind}"


def test_the_adapter_names_the_root() -> None:
    assert read_root(SOURCE, b'{"id": "7"}', "withdraw", root_of) == "main:order:barte:7:withdraw"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"status=paid", NOT_JSON),
        (b'{"id": "7"', NOT_JSON),
        (b"{" * 5000, NOT_JSON),
        (b'{"id": NaN}', NOT_JSON),
        (b'{"id": "\xff"}', NOT_UTF8),
        (b"[1]", NOT_AN_OBJECT),
        (b"17", NOT_AN_OBJECT),
        (b"null", NOT_AN_OBJECT),
        (b"{}", "id: missing"),
        (b'{"id": 1}', ADAPTER_FAILED),
    ],
)
def test_without_a_root_there_is_a_reason(body: bytes, reason: str) -> None:
    assert read_root(SOURCE, body, None, root_of) == Unrooted(reason)
