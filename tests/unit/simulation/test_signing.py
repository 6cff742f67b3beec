"""What is sent passes the ingress's own checks, and what is forged does not."""

import pytest
from multidict import CIMultiDict

from service.checks import (
    AuthorizationCheck,
    BasicCheck,
    Check,
    Encoding,
    HeaderCheck,
    HmacCheck,
    Signed,
    UrlTokenCheck,
)
from service.declarations import Secret
from service.ingress.verify import Claim, Gate
from service.settings import Source
from service.simulation.signing import forge, sign

SECRETS = (Secret(b"the one that is sent"), Secret(b"the one to come, ok"))
BODY = b'{"id": "pay_1"}'
NOW = 1_762_160_400.5


def hmac_check(
    encoding: Encoding = "hex",
    *,
    prefix: str = "",
    algorithm: str = "sha256",
    timed: bool = False,
    signed: Signed = "body",
) -> HmacCheck:
    return HmacCheck(
        header="x-signature",
        algorithm=algorithm,
        encoding=encoding,
        prefix=prefix,
        secrets=SECRETS,
        timestamp_header="x-time" if timed else None,
        window_s=300,
        signed=signed,
    )


CHECKS: list[Check] = [
    UrlTokenCheck(secrets=SECRETS),
    AuthorizationCheck(secrets=SECRETS),
    HeaderCheck(header="x-webhook-secret", secrets=SECRETS),
    BasicCheck(username="recibo", secrets=SECRETS),
    hmac_check("hex", prefix="sha256="),
    hmac_check("base64", algorithm="sha512"),
    hmac_check("base64url", algorithm="sha1"),
    hmac_check(timed=True, signed="timestamp.body"),
    hmac_check(timed=True, signed="body"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.kind}")
def test_a_signed_delivery_gets_in(check: Check) -> None:
    signature = sign(source(check), BODY, now=NOW)

    assert refusal(source(check), *signature) is None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.kind}")
def test_a_forged_one_does_not(check: Check) -> None:
    forged = forge(source(check))

    assert forged is not None
    assert refusal(source(check), *sign(forged, BODY, now=NOW)) is not None


def test_several_checks_are_all_passed() -> None:
    shop = source(UrlTokenCheck(secrets=SECRETS), hmac_check(prefix="sha256="))

    assert refusal(shop, *sign(shop, BODY, now=NOW)) is None


def test_a_source_without_secrets_cannot_be_forged() -> None:
    assert forge(source()) is None


def source(*checks: Check) -> Source:
    return Source(name="shop", provider="admin", account="shop", checks=checks)


def refusal(shop: Source, query: dict[str, str], headers: dict[str, str]) -> object:
    gate = Gate(shop.checks)
    claim = Claim(CIMultiDict(headers), query.get("token"), None)
    return gate.refusal_of_head(claim) or gate.refusal_of_body(claim, BODY, now=NOW)
