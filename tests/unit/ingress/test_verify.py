"""Who gets in: every kind of check, rotation, repeats, and comparisons that tell nothing by their time."""

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Sequence

import pytest
from multidict import CIMultiDict

from service.checks import (
    AddressCheck,
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
from service.ingress.addresses import parse
from service.ingress.verify import Claim, Gate, Refusal

NOW = 1_762_170_000.0
BODY = b'{"id": "1", "status": "PAID"}'
OLD = Secret(b"the-old-secret-of-the-tests")
NEW = Secret(b"the-new-secret-of-the-tests")
ROTATING = (OLD, NEW)


def claim(*headers: tuple[str, str], url_token: str | None = None, address: str = "203.0.113.7") -> Claim:
    return Claim(CIMultiDict(headers), url_token, parse(address))


def refusal(check: Check, made: Claim, body: bytes = BODY, now: float = NOW) -> Refusal | None:
    gate = Gate((check,))
    return gate.refusal_of_head(made) or gate.refusal_of_body(made, body, now=now)


def text(secret: bytes) -> str:
    return bytes(secret).decode()


class TestAuthorization:
    check = AuthorizationCheck(secrets=ROTATING)

    @pytest.mark.parametrize("secret", ROTATING)
    @pytest.mark.parametrize("prefix", ["", "Bearer ", "bearer ", "BEARER   ", "Bearer \t"])
    def test_every_live_token_passes_with_or_without_bearer(self, secret: Secret, prefix: str) -> None:
        assert refusal(self.check, claim(("authorization", prefix + text(secret)))) is None

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "Bearer",
            "Bearer ",
            "wrong",
            text(OLD)[:-1],
            text(OLD) + "x",
            "Bearer Bearer " + text(OLD),
            "\udcff\x00é",
        ],
    )
    def test_any_other_value_is_refused(self, value: str) -> None:
        assert refusal(self.check, claim(("Authorization", value))) == Refusal("authorization", 401)

    def test_a_missing_token_is_refused(self) -> None:
        assert refusal(self.check, claim()) == Refusal("authorization", 401)

    def test_a_token_beside_another_one_is_refused(self) -> None:
        made = claim(("Authorization", text(OLD)), ("Authorization", "wrong"))

        assert refusal(self.check, made) == Refusal("authorization", 401)

    def test_a_token_declared_with_bearer_is_the_same_token(self) -> None:
        check = AuthorizationCheck(secrets=(Secret(b"Bearer " + OLD),))

        assert refusal(check, claim(("Authorization", text(OLD)))) is None


class TestUrlToken:
    check = UrlTokenCheck(secrets=ROTATING)

    @pytest.mark.parametrize("secret", ROTATING)
    def test_every_live_token_passes(self, secret: Secret) -> None:
        assert refusal(self.check, claim(url_token=text(secret))) is None

    @pytest.mark.parametrize("token", [None, "", "wrong", text(NEW).upper(), "\ud800"])
    def test_any_other_is_refused(self, token: str | None) -> None:
        assert refusal(self.check, claim(url_token=token)) == Refusal("url_token", 401)


class TestHeader:
    check = HeaderCheck(header="x-webhook-secret", secrets=ROTATING)

    @pytest.mark.parametrize("secret", ROTATING)
    def test_every_live_secret_passes(self, secret: Secret) -> None:
        assert refusal(self.check, claim(("X-Webhook-Secret", text(secret)))) is None

    @pytest.mark.parametrize("headers", [[], [("X-Webhook-Secret", "wrong")], [("X-Other", text(OLD))]])
    def test_anything_else_is_refused(self, headers: Sequence[tuple[str, str]]) -> None:
        assert refusal(self.check, claim(*headers)) == Refusal("header", 401)


class TestBasic:
    check = BasicCheck(username="gen", secrets=ROTATING)

    @staticmethod
    def credentials(user: str, password: str) -> tuple[str, str]:
        return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    @pytest.mark.parametrize("secret", ROTATING)
    def test_the_user_passes_with_every_live_password(self, secret: Secret) -> None:
        assert refusal(self.check, claim(self.credentials("gen", text(secret)))) is None

    @pytest.mark.parametrize(
        "header",
        [
            credentials("other", text(OLD)),
            credentials("gen", "wrong"),
            credentials("gen", ""),
            ("Authorization", "Basic"),
            ("Authorization", "Basic not-base64!"),
            ("Authorization", f"Bearer {text(OLD)}"),
        ],
    )
    def test_anything_else_is_refused(self, header: tuple[str, str]) -> None:
        assert refusal(self.check, claim(header)) == Refusal("basic", 401)


class TestHmac:
    @staticmethod
    def check(
        *,
        algorithm: str = "sha256",
        encoding: Encoding = "hex",
        timestamp_header: str | None = None,
        signed: Signed = "body",
    ) -> HmacCheck:
        return HmacCheck(
            header="x-signature",
            algorithm=algorithm,
            encoding=encoding,
            prefix="sha256=",
            secrets=ROTATING,
            timestamp_header=timestamp_header,
            window_s=300,
            signed=signed,
        )

    @staticmethod
    def digest(secret: bytes, signed: bytes = BODY, algorithm: str = "sha256") -> bytes:
        return hmac.new(secret, signed, algorithm).digest()

    @pytest.mark.parametrize("secret", ROTATING)
    @pytest.mark.parametrize("prefix", ["", "sha256="])
    def test_a_signature_by_every_live_secret_passes_with_or_without_prefix(
        self, secret: Secret, prefix: str
    ) -> None:
        signature = self.digest(secret).hex()

        assert refusal(self.check(), claim(("X-Signature", prefix + signature))) is None
        assert refusal(self.check(), claim(("X-Signature", prefix + signature.upper()))) is None

    @pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
    def test_every_encoding_of_every_algorithm_passes(self, algorithm: str) -> None:
        digest = self.digest(NEW, algorithm=algorithm)
        encodings: list[tuple[Encoding, str]] = [
            ("hex", digest.hex()),
            ("base64", base64.b64encode(digest).decode()),
            ("base64url", base64.urlsafe_b64encode(digest).decode()),
            ("base64url", base64.urlsafe_b64encode(digest).decode().rstrip("=")),
        ]

        for encoding, signature in encodings:
            check = self.check(algorithm=algorithm, encoding=encoding)
            assert refusal(check, claim(("X-Signature", signature))) is None

    @pytest.mark.parametrize("signature", ["", "sha256=", "00", "not hex", "é", "a" * 64, "a" * 63])
    def test_any_other_signature_is_refused(self, signature: str) -> None:
        assert refusal(self.check(), claim(("X-Signature", signature))) == Refusal("hmac", 401)

    def test_a_missing_or_repeated_signature_is_refused(self) -> None:
        signed = ("X-Signature", self.digest(NEW).hex())

        assert refusal(self.check(), claim()) == Refusal("hmac", 401)
        assert refusal(self.check(), claim(signed, signed)) == Refusal("hmac", 401)

    def test_one_changed_byte_of_the_body_is_refused(self) -> None:
        signed = claim(("X-Signature", self.digest(NEW).hex()))

        assert refusal(self.check(), signed, body=BODY + b" ") == Refusal("hmac", 401)

    @pytest.mark.parametrize(
        ("age_s", "passes"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)]
    )
    def test_a_replay_outside_the_window_is_refused(self, age_s: int, *, passes: bool) -> None:
        check = self.check(timestamp_header="x-time", signed="timestamp.body")
        timestamp = str(int(NOW) - age_s)
        signature = self.digest(NEW, timestamp.encode() + b"." + BODY).hex()

        refused = refusal(check, claim(("X-Time", timestamp), ("X-Signature", signature)))

        assert (refused is None) == passes

    def test_a_timestamp_that_was_not_signed_is_refused(self) -> None:
        check = self.check(timestamp_header="x-time", signed="timestamp.body")
        signature = self.digest(NEW, b"%d." % int(NOW) + BODY).hex()

        renewed = claim(("X-Time", str(int(NOW) + 1)), ("X-Signature", signature))

        assert refusal(check, renewed) == Refusal("hmac", 401)

    @pytest.mark.parametrize("timestamp", ["", "now", "-1", "1e9", "9" * 40, "١٧٦٢١٧٠٠٠٠"])
    def test_a_timestamp_that_is_no_number_is_refused(self, timestamp: str) -> None:
        check = self.check(timestamp_header="x-time", signed="body")
        signed = ("X-Signature", self.digest(NEW).hex())

        assert refusal(check, claim(("X-Time", timestamp), signed)) == Refusal("hmac", 401)

    def test_a_missing_timestamp_is_refused(self) -> None:
        check = self.check(timestamp_header="x-time", signed="body")

        assert refusal(check, claim(("X-Signature", self.digest(NEW).hex()))) == Refusal("hmac", 401)


def allowing(network: str) -> AddressCheck:
    return AddressCheck(allow=(ipaddress.ip_network(network),))


class TestAddress:
    def test_an_allowed_address_passes(self) -> None:
        assert refusal(allowing("203.0.113.0/24"), claim(address="203.0.113.7")) is None
        assert refusal(allowing("2001:db8::/32"), claim(address="2001:db8::7")) is None
        assert refusal(allowing("203.0.113.0/24"), claim(address="::ffff:203.0.113.7")) is None

    @pytest.mark.parametrize("address", ["203.0.114.1", "2001:db8::7", "", "nonsense"])
    def test_any_other_is_forbidden(self, address: str) -> None:
        assert refusal(allowing("203.0.113.0/24"), claim(address=address)) == Refusal("address", 403)


class TestSeveralChecks:
    gate = Gate(
        (AuthorizationCheck(secrets=ROTATING), UrlTokenCheck(secrets=(NEW,)), allowing("203.0.113.0/24"))
    )

    def test_all_of_them_must_pass(self) -> None:
        token = ("Authorization", text(OLD))

        assert self.gate.refusal_of_head(claim(token, url_token=text(NEW))) is None
        assert self.gate.refusal_of_head(claim(token)) == Refusal("url_token", 401)
        assert self.gate.refusal_of_head(claim(url_token=text(NEW))) == Refusal("authorization", 401)
        assert self.gate.refusal_of_head(
            claim(token, url_token=text(NEW), address="198.51.100.1")
        ) == Refusal("address", 403)

    def test_trust_names_what_was_shown(self) -> None:
        assert self.gate.trust == "authorization+url_token+address"

    def test_without_any_check_all_pass_and_trust_says_none(self) -> None:
        gate = Gate(())

        assert gate.refusal_of_head(claim()) is None
        assert gate.refusal_of_body(claim(), BODY, now=NOW) is None
        assert gate.trust == "none"


class TestConstantTime:
    """Every comparison goes through compare_digest, against every live secret, on equal lengths."""

    @pytest.fixture
    def compared(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
        lengths: list[tuple[int, int]] = []
        real = hmac.compare_digest

        def compare(candidate: bytes, known: bytes) -> bool:
            lengths.append((len(candidate), len(known)))
            return real(candidate, known)

        monkeypatch.setattr(hmac, "compare_digest", compare)
        return lengths

    @pytest.mark.parametrize("token", [text(OLD), text(NEW), "x", "x" * 500])
    def test_a_token_is_compared_with_all_secrets_at_one_length(
        self, token: str, compared: list[tuple[int, int]]
    ) -> None:
        refusal(UrlTokenCheck(secrets=ROTATING), claim(url_token=token))
        refusal(AuthorizationCheck(secrets=ROTATING), claim(("Authorization", token)))
        refusal(HeaderCheck(header="x-secret", secrets=ROTATING), claim(("X-Secret", token)))
        refusal(BasicCheck(username="gen", secrets=ROTATING), claim(TestBasic.credentials("gen", token)))

        assert compared == [(hashlib.sha256().digest_size, hashlib.sha256().digest_size)] * 8

    def test_a_signature_is_compared_with_that_of_every_secret(self, compared: list[tuple[int, int]]) -> None:
        signed = claim(("X-Signature", TestHmac.digest(OLD).hex()))

        refusal(TestHmac.check(), signed)

        assert compared == [(32, 32)] * 2
