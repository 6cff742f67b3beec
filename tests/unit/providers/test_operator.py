"""The operator's decisions: deliveries like any other, on the root that they name."""

from typing import Any

import pytest

from projections.facts import Fact
from tests.bodies import body, digest, document, ns, refused, rooted, said, standing
from tests.facts import flags, told

ROOT = "shop:order:3c9d1f40-0000-4000-8000-00000000a009"
ANSWERS = "ORDER|3c9d1f40-0000-4000-8000-00000000a009|CHARGEBACK|2025-11-28T16:17:18"


def decision(**members: Any) -> dict[str, Any]:
    return document("operator", "decision_lost", **members)


def contested() -> list[Fact]:
    return [said("barte", body("barte", name)) for name in ("order_dispute", "order_chargeback")]


@pytest.mark.parametrize(
    ("name", "status", "text"),
    [
        ("decision_lost", "lost", "2025-12-10T14:15:16.123456+00:00"),
        ("decision_closed", "closed", "2025-12-11T08:00:00.000000+00:00"),
    ],
)
def test_a_decision_is_its_fact(name: str, status: str, text: str) -> None:
    fact = said("operator", body("operator", name))

    assert (fact.root, fact.kind, fact.subject) == (ROOT, "decision", "")
    assert (fact.status, fact.precedence, fact.answers) == (status, -1, ANSWERS)
    assert (fact.occurred_at, fact.occurred_text) == (ns(text.removesuffix("+00:00")), text)
    assert fact.provider == "operator"
    assert (fact.amount_cents, fact.refunded_cents, fact.reference, fact.payer) == (None, None, None, None)
    assert rooted("operator", body("operator", name)) == ROOT


def test_the_key_of_a_decision_has_its_instant_and_the_identity_its_digest() -> None:
    fact = said("operator", body("operator", "decision_lost"))

    assert fact.identity == f"{fact.key}|{digest(body('operator', 'decision_lost'))}"
    assert "2025-12-10T14:15:16.123456+00:00" in fact.key
    assert ANSWERS in fact.key


def test_a_decision_finds_its_dispute_by_the_key_of_a_contested_fact() -> None:
    facts = [*contested(), said("operator", body("operator", "decision_lost"))]

    assert ANSWERS in {fact.key for fact in facts}
    assert standing(*facts) == ("charged_back", ["lost"])
    assert [name for name, _ in flags(*facts)] == ["payment_notice_lost"]


def test_of_several_decisions_the_one_decided_last_holds_whenever_it_arrives() -> None:
    lost, closed = (said("operator", body("operator", f"decision_{word}")) for word in ("lost", "closed"))

    assert told(*contested(), closed, lost) == told(*contested(), lost, closed)
    assert standing(*contested(), closed, lost)[1] == ["closed"]


def test_a_decision_that_names_no_contested_fact_is_flagged() -> None:
    facts = [*contested(), said("operator", decision(answers="ORDER|another|CHARGEBACK|"))]

    assert standing(*facts)[1] == ["charged_back"]
    assert "decision_without_dispute" in [name for name, _ in flags(*facts)]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("root", None),
        ("root", 7),
        ("root", ""),
        ("root", "o-1"),
        ("root", "shop:cart:c-1"),
        ("root", "shop:order:" + "x" * 8192),
        ("root", "shop:order:a\x00b"),
        ("answers", None),
        ("answers", 7),
        ("answers", "a\x00b"),
        ("decision", None),
        ("decision", "won"),
        ("decision", 7),
        ("decided_at", None),
        ("decided_at", "yesterday"),
        ("decided_at", 7),
    ],
)
def test_what_is_no_decision_is_refused_and_says_where(member: str, value: object) -> None:
    assert refused("operator", decision(**{member: value})).startswith(f"{member}: ")


def test_the_note_is_no_part_of_what_is_told() -> None:
    noted = said("operator", decision(note="call Ana, +55 11 90000-0000"))

    assert noted.key == said("operator", decision()).key
    assert "Ana" not in repr(noted)
