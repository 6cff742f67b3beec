"""Who pays, without a name: keyed hashes of the normalised document, e-mail and phone."""

import hmac
from typing import Any

import pytest

from projections.facts import Fact, Payer, Reading
from tests.bodies import ALL, KEYED, body, document, said

SAME_DOCUMENT = {
    "barte": document("barte", "order_paid", documentBuyer="98765432100"),
    "admin": document("admin", "payment_approved"),
    "gen": document("gen", "order_created"),
    "aprovei": document("aprovei", "sale_approved"),
}
"""One person, told of by all four."""


def payer(provider: str, sent: Any, reading: Reading = KEYED, **columns: Any) -> Payer:
    return said(provider, sent, reading=reading, **columns).payer or Payer()


def barte(**members: Any) -> Payer:
    return payer("barte", document("barte", "order_paid", **members))


def gen(**members: Any) -> Payer:
    sent = document("gen", "order_created")
    sent["data"]["customer"] |= members
    return payer("gen", sent)


def aprovei(**members: Any) -> Payer:
    sent = document("aprovei", "sale_approved")
    sent["customer"] |= members
    return payer("aprovei", sent)


@pytest.mark.parametrize(("provider", "name"), ALL)
def test_without_a_key_all_hashes_are_null(provider: str, name: str) -> None:
    assert payer(provider, body(provider, name), Reading()) == Payer()


@pytest.mark.parametrize(("provider", "name"), ALL)
def test_the_key_changes_nothing_but_the_hashes(provider: str, name: str) -> None:
    with_key, without = (
        said(provider, body(provider, name), reading=KEYED),
        said(provider, body(provider, name)),
    )

    assert _but_payer(with_key) == _but_payer(without)


@pytest.mark.parametrize(
    ("provider", "name", "known"),
    [
        ("barte", "order_paid", "document email"),
        ("barte", "subscription_defaulter", "document email"),
        ("barte", "physical_order_paid", ""),
        ("admin", "payment_approved", "document email"),
        ("admin", "withdrawal_approved", ""),
        ("gen", "order_created", "document email phone"),
        ("gen", "pix_paid", ""),
        ("aprovei", "sale_approved", "document email phone"),
        ("aprovei", "cart_abandoned", "email phone"),
    ],
)
def test_each_hash_is_there_where_its_datum_is(provider: str, name: str, known: str) -> None:
    found = payer(provider, body(provider, name))

    hashes = {"document": found.document, "email": found.email, "phone": found.phone}
    assert {member for member, value in hashes.items() if value is not None} == set(known.split())
    for value in filter(None, hashes.values()):
        assert len(value) == 32 and set(value) <= set("0123456789abcdef")  # 128 bits


def test_the_same_person_has_the_same_hash_at_every_provider() -> None:
    assert len({payer(provider, sent).document for provider, sent in SAME_DOCUMENT.items()}) == 1
    email = "Zeca.Ficticio@example.com"
    assert gen().email == barte(emailBuyer=email).email == aprovei(email=email).email
    assert gen().phone == aprovei().phone


def test_another_key_gives_another_hash() -> None:
    one, other = (payer("barte", body("barte", "order_paid"), Reading(payer_key=key)) for key in (b"a", b"b"))

    assert one.document != other.document
    assert one.email != other.email


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_a_hash_is_the_beginning_of_an_hmac_sha256(length: int) -> None:
    key = bytes(range(length))

    found = payer("gen", document("gen", "order_created"), Reading(payer_key=key))

    assert found.document == hmac.digest(key, b"98765432100", "sha256").hex()[:32]


def test_document_email_and_phone_are_normalised_first() -> None:
    assert barte(documentBuyer="987.654.321-00") == barte(documentBuyer="98765432100")
    assert barte(documentBuyer=" 98765432100 ") == barte(documentBuyer="98765432100")
    assert barte(emailBuyer=" LIA.Ficticia@EXAMPLE.com ") == barte(emailBuyer="lia.ficticia@example.com")
    assert gen(phone="+55 (41) 91111-1111") == gen(phone="+5541911111111")


def test_two_people_have_two_hashes() -> None:
    assert barte(documentBuyer="98765432100").document != barte(documentBuyer="98765432101").document
    assert barte(emailBuyer="a@example.com").email != barte(emailBuyer="b@example.com").email
    assert gen(phone="+5541911111111").phone != gen(phone="+5541911111112").phone


@pytest.mark.parametrize("empty", ["", "   ", None])
def test_what_is_empty_is_absent(empty: str | None) -> None:
    assert barte(documentBuyer=empty, emailBuyer=empty) == Payer()
    assert aprovei(identification_number=empty, email=empty, cellphone=empty) == Payer()


def test_a_foreign_document_is_not_validated_as_a_cpf() -> None:
    assert barte(documentBuyer="AB-123/X").document is not None


def test_a_companys_document_counts_where_there_is_no_persons() -> None:
    company = gen(cpf=None, cnpj="11.222.333/0001-81")

    assert company.document == barte(documentBuyer="11222333000181").document


def _but_payer(fact: Fact) -> list[object]:
    return [getattr(fact, name) for name in fact.__struct_fields__ if name != "payer"]
