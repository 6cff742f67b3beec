"""Whatever arrives: a fact, or a reason that names the field and quotes nothing. Never another error."""

import copy
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from projections.delivery import Delivery
from projections.facts import Fact, Reading, Unreadable
from tests.bodies import ALL, KEYED, PLAIN, PROVIDERS, body, encoded, raw, row
from tests.contract import REASON_LENGTH_MAX, assert_kept, outcome, root_or_reason

MISSING: Final = object()
Path = tuple[str | int, ...]

KINDS = {"withdrawal_approved": "withdraw", "cart_abandoned": "default"}
"""The URL's marker with which a fixture comes."""

FIRST = {
    "barte": "order_paid",
    "admin": "payment_approved",
    "gen": "pix_paid",
    "aprovei": "sale_approved",
    "operator": "decision_lost",
}

LONG = "x" * 8192
NOT_BODIES = [
    (b"", "body: not JSON"),
    (b"status=PAID", "body: not JSON"),
    (b'{"id": "7"', "body: not JSON"),
    (b'{"id": NaN}', "body: not JSON"),
    (b'{"id": Infinity}', "body: not JSON"),
    (b"{'id': 7}", "body: not JSON"),
    (b'{"id": "\\ud800"}', "body: not JSON"),
    (b"{" * 5000, "body: not JSON"),
    (b"[" * 100_000, "body: not JSON"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, "body: not JSON"),
    (b"\xff\xfe{}", "body: not UTF-8"),
    (b'{"id": "\xc3\x28"}', "body: not UTF-8"),
    ("{}".encode("utf-16"), "body: not UTF-8"),
    (b"[]", "body: not a JSON object"),
    (b'[{"id": "7"}]', "body: not a JSON object"),
    (b"17", "body: not a JSON object"),
    (b"1.5", "body: not a JSON object"),
    (b'"PAID"', "body: not a JSON object"),
    (b"null", "body: not a JSON object"),
    (b"true", "body: not a JSON object"),
]

IDS: list[object] = [MISSING, None, "", 7, True, 1.5, [], {}, "a\x00b", "a\nb", "a\u2028b", LONG, "x" * 200]
WORDS: list[object] = [MISSING, None, "", 7, True, [], {}, "SETTLED", "a\x00b", LONG]
DATES: list[object] = [
    "yesterday",
    "2025-02-30T10:00:00",
    "2025-13-01T10:00:00Z",
    "2025-10-07T25:00:00Z",
    "2025-10-07T10:00:61Z",
    "2025-10-07",
    "20251007",
    "1500-01-01T00:00:00",
    "2300-01-01T00:00:00",
    "1500-01-01T00:00:00Z",
    "2300-01-01T00:00:00Z",
    "0000-00-00T00:00:00Z",
    "9999-12-31T23:59:59.999999999",
    "-2025-10-07T10:00:00Z",
    "2025-10-07T10:00:00.Z",
    "\uff12\uff10\uff12\uff15-10-07T10:00:00Z",
    "a\x00b",
    LONG,
    1762174800,
    1762174800.5,
    True,
    [],
    {},
]
CENTS: list[object] = [
    "15990",
    "",
    True,
    raw("158.90"),
    raw("1e-2"),
    raw("9223372036854775808"),
    raw("18446744073709551616"),
    raw("-9223372036854775809"),
    raw("1e300"),
    [],
    {},
]
REAIS: list[object] = [
    "45.90",
    "",
    True,
    raw("45.905"),
    raw("92233720368547758.08"),
    raw("1e300"),
    [],
    {},
]
TEXTS: list[object] = ["a\x00b", "\x00"]
LISTS: list[object] = [None, {}, "x", 7, True]

# Provider, fixture, member, what stands there instead, and how the reason begins.
CASES: list[tuple[str, str, Path, Sequence[object], str]] = [
    ("barte", "order_paid", ("uuid",), IDS, "uuid: "),
    ("barte", "subscription_defaulter", ("uuid",), IDS, "uuid: "),
    ("barte", "order_paid", ("domain",), [*WORDS, "PIX_ORDER"], "domain: "),
    ("barte", "order_paid", ("status",), WORDS, "status: "),
    ("barte", "subscription_defaulter", ("status",), [*WORDS, "PAID"], "status: "),
    ("barte", "order_paid", ("dateTime",), DATES, "dateTime: "),
    ("barte", "order_refund", ("refunds",), LISTS, "refunds: "),
    ("barte", "order_refund", ("refunds", 0), [None, 7, "x", []], "refunds[0]"),
    ("barte", "order_refund", ("refunds", 0, "amount"), REAIS, "refunds[0].amount: "),
    ("barte", "order_refund", ("refunds", 1, "amount"), REAIS, "refunds[1].amount: "),
    ("barte", "order_paid", ("metadata",), [{}, "x", 7, True], "metadata: "),
    ("barte", "order_paid", ("metadata", 0, "value"), TEXTS, "metadata[0].value: "),
    ("admin", "payment_approved", ("id",), IDS, "id: "),
    ("admin", "withdrawal_approved", ("id",), IDS, "id: "),
    ("admin", "payment_approved", ("type",), [*WORDS, "INVOICE"], "type: "),
    ("admin", "payment_approved", ("status",), WORDS, "status: "),
    ("admin", "withdrawal_approved", ("status",), [*WORDS, "CANCELED"], "status: "),
    ("admin", "payment_approved", ("updated_at",), DATES, "updated_at: "),
    ("admin", "withdrawal_approved", ("updated_at",), DATES, "updated_at: "),
    ("admin", "payment_approved", ("amount",), CENTS, "amount: "),
    ("admin", "withdrawal_approved", ("amount",), CENTS, "amount: "),
    ("admin", "payment_approved", ("currency",), [7, True, [], {}, "a\x00b"], "currency: "),
    ("admin", "payment_approved", ("external_id",), TEXTS, "external_id: "),
    ("gen", "pix_paid", ("data", "id"), [MISSING, None, "", 7, True, [], {}, "a\x00b"], "id: "),
    ("gen", "pix_paid", ("data", "order_id"), IDS, "order_id: "),
    ("gen", "pix_paid", ("data", "status"), WORDS, "status: "),
    ("gen", "pix_paid", ("data", "updated_at"), DATES, "updated_at: "),
    ("gen", "pix_paid", ("data", "inserted_at"), DATES, "inserted_at: "),
    ("gen", "pix_paid", ("data", "total_cents"), CENTS, "total_cents: "),
    ("gen", "pix_paid", ("data", "subtotal_cents"), CENTS, "subtotal_cents: "),
    ("gen", "pix_paid", ("data", "external_id"), TEXTS, "external_id: "),
    ("gen", "order_created", ("data", "id"), IDS, "id: "),
    ("gen", "order_created", ("data", "items"), [{}, "x", 7, True], "items: "),
    ("gen", "order_created", ("data", "items", 0), [None, 7, "x", []], "items[0]"),
    ("gen", "order_created", ("data", "items", 0, "unit_price_cents"), CENTS, "items[0].unit_price_cents: "),
    ("gen", "order_created", ("data", "items", 1, "quantity"), ["2", True, 1.5, []], "items[1].quantity: "),
    ("gen", "order_created", ("data", "items", 1, "quantity"), [2**62], "items"),
    ("gen", "bolepix_paid", ("data", "invoiceId"), IDS, "invoiceId: "),
    ("gen", "bolepix_paid", ("data", "updatedAt"), DATES, "updatedAt: "),
    ("gen", "bolepix_paid", ("data", "amount"), REAIS, "amount: "),
    ("aprovei", "sale_approved", ("transaction_token",), IDS, "transaction_token: "),
    ("aprovei", "sale_approved", ("payment_status",), WORDS[2:], "payment_status: "),
    ("aprovei", "sale_approved", ("transaction_amount",), CENTS, "transaction_amount: "),
    ("aprovei", "sale_approved", ("date_created",), DATES, "date_created: "),
    ("aprovei", "sale_approved", ("date_approved",), DATES, "date_approved: "),
    ("aprovei", "sale_approved", ("date_refunded",), DATES, "date_refunded: "),
    ("aprovei", "sale_approved", ("products",), LISTS, "products: "),
    ("aprovei", "sale_approved", ("products", 0), [None, 7, "x", []], "products[0]"),
    ("aprovei", "sale_approved", ("products", 1, "code"), TEXTS, "products[1].code: "),
    ("aprovei", "sale_approved", ("external_code",), TEXTS, "external_code: "),
    ("aprovei", "cart_abandoned", ("cart_token",), ["a\x00b", LONG], "cart_token: "),
    ("aprovei", "cart_abandoned", ("date_created",), DATES, "date_created: "),
    ("operator", "decision_lost", ("root",), [*IDS, "shop:order:", "shop:dispute:1"], "root: "),
    ("operator", "decision_lost", ("answers",), [MISSING, None, 7, [], "a\x00b"], "answers: "),
    ("operator", "decision_lost", ("decision",), WORDS, "decision: "),
    ("operator", "decision_lost", ("decided_at",), [MISSING, None, *DATES], "decided_at: "),
]  # fmt: skip


def replaced(document: dict[str, Any], path: Path, value: object) -> dict[str, Any]:
    """The document with `value` at `path`; without that member if it is MISSING."""
    changed = copy.deepcopy(document)
    inner: Any = changed
    for step in path[:-1]:
        inner = inner[step]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return changed


def broken() -> Iterator[Any]:
    for provider, name, path, values, begins in CASES:
        for value in values:
            shown = "missing" if value is MISSING else _shown(value)
            sent = encoded(replaced(orjson.loads(body(provider, name)), path, value))
            where = ".".join(map(str, path))
            yield pytest.param(provider, name, sent, begins, value, id=f"{provider}-{name}-{where}-{shown}")


def _shown(value: object) -> str:
    return re.sub(r"[^A-Za-z0-9.+-]", "_", orjson.dumps(value).decode())[:32]


@pytest.mark.parametrize("provider", [*PROVIDERS, "operator"])
@pytest.mark.parametrize(("sent", "reason"), NOT_BODIES, ids=range(len(NOT_BODIES)))
def test_a_body_that_is_no_json_object_is_refused_and_says_why(
    provider: str, sent: bytes, reason: str
) -> None:
    assert outcome(row(provider, sent)) == reason


@pytest.mark.parametrize("provider", [*PROVIDERS, "operator"])
def test_an_empty_object_is_refused(provider: str) -> None:
    delivery = row(provider, b"{}")

    assert isinstance(outcome(delivery), str)
    assert isinstance(root_or_reason(delivery), Unreadable)


@pytest.mark.parametrize("provider", ["stripe", "", "Barte", "providers"])
def test_an_unknown_provider_is_refused(provider: str) -> None:
    delivery = row(provider, body("barte", "order_paid"))

    assert isinstance(outcome(delivery), str)
    assert isinstance(root_or_reason(delivery), Unreadable)


@pytest.mark.parametrize(("provider", "name", "sent", "begins", "value"), list(broken()))
def test_a_broken_member_is_refused_by_its_name_and_never_quoted(
    provider: str, name: str, sent: bytes, begins: str, value: object
) -> None:
    delivery = row(provider, sent, kind=KINDS.get(name) if provider != "admin" else None)

    reason = outcome(delivery)

    assert isinstance(reason, str)
    # Gen's object is somewhere in its envelope: the reason may say where.
    assert reason.removeprefix("data.").startswith(begins)
    assert len(reason) < REASON_LENGTH_MAX
    if isinstance(value, str) and len(value) > 3:
        assert value not in reason
    assert_quotes_nothing(reason, provider, name)


@pytest.mark.parametrize(("provider", "name"), ALL)
@pytest.mark.parametrize("literal", ["0e99999999999999999999", "1e-99999999999999999999", "0." + "1" * 5000])
def test_a_number_of_an_absurd_form_is_no_error(provider: str, name: str, literal: str) -> None:
    sent = orjson.loads(body(provider, name))
    where = sent["data"] if provider == "gen" else sent
    where["rate"] = raw(literal)

    assert isinstance(outcome(row(provider, sent)), Fact | str)


@pytest.mark.parametrize("literal", ["0e99999999999999999999", "1e-99999999999999999999", "0." + "1" * 5000])
def test_an_amount_of_an_absurd_form_is_refused(literal: str) -> None:
    refunded = replaced(orjson.loads(body("barte", "order_refund")), ("refunds", 0, "amount"), raw(literal))
    invoice = replaced(orjson.loads(body("gen", "bolepix_paid")), ("data", "amount"), raw(literal))

    # The first two are forms that no decimal takes, so nothing tells any more where they stood.
    for reason in (outcome(row("barte", refunded)), outcome(row("gen", invoice))):
        assert isinstance(reason, str)
        assert reason.startswith(("refunds[0].amount: ", "amount: ", "body: "))


@pytest.mark.parametrize("provider", [*PROVIDERS, "operator"])
def test_a_nul_in_a_member_that_nobody_knows_is_refused_without_quoting_its_name(provider: str) -> None:
    sent = orjson.loads(body(provider, FIRST[provider]))
    (sent["data"] if provider == "gen" else sent)["Fulano_de_Tal_" + LONG] = {"Sicrana": "a\x00b"}

    reason = outcome(row(provider, sent))

    assert isinstance(reason, str)
    assert "Fulano" not in reason and "Sicrana" not in reason
    assert len(reason) < REASON_LENGTH_MAX


@pytest.mark.parametrize("provider", PROVIDERS)
def test_of_long_texts_nothing_stays_in_memory(provider: str) -> None:
    document = orjson.loads(body(provider, FIRST[provider]))
    tracemalloc.start()
    try:
        for number, path in enumerate(_paths(document)):
            outcome(row(provider, replaced(document, path, f"{number}" * 1_000_000)), KEYED)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert held < 1_000_000


@pytest.mark.parametrize("opening", [b"[", b'{"metadata":'], ids=["list", "object"])
def test_a_nul_far_down_is_refused_in_a_line(opening: bytes) -> None:
    closing = {b"[": b"]", b'{"metadata":': b"}"}[opening]
    deep = opening * 200 + b'"\\u0000"' + closing * 200
    sent = replaced(orjson.loads(body("barte", "order_paid")), ("cards",), raw(deep.decode()))

    reason = outcome(row("barte", sent))

    assert isinstance(reason, str)
    assert reason.startswith("cards") and reason.endswith(": holds a NUL")
    assert len(reason) < REASON_LENGTH_MAX


@pytest.mark.parametrize(
    ("provider", "name", "path", "value"),
    [
        ("barte", "order_paid", ("metadata",), None),
        ("barte", "order_paid", ("address",), None),
        ("barte", "order_paid", ("address",), MISSING),
        ("barte", "order_paid", ("cards",), [{"anything": ["at", "all"]}]),
        ("barte", "order_paid", ("uuidBuyer",), MISSING),
        ("barte", "order_paid", ("cnpjSeller",), MISSING),
        ("barte", "order_refund", ("refunds", 0, "amount"), MISSING),
        ("admin", "payment_approved", ("payer",), None),
        ("admin", "payment_approved", ("payer",), MISSING),
        ("admin", "payment_approved", ("payment_method",), MISSING),
        ("admin", "payment_approved", ("external_id",), MISSING),
        ("admin", "payment_approved", ("amount",), None),
        ("gen", "pix_paid", ("data", "device"), MISSING),
        ("gen", "pix_paid", ("data", "session_id"), None),
        ("gen", "pix_paid", ("id",), None),
        ("aprovei", "sale_approved", ("customer_address",), None),
        ("aprovei", "sale_approved", ("utms",), MISSING),
        ("aprovei", "sale_approved", ("freight_amount",), None),
        ("aprovei", "sale_approved", ("external_code",), None),
        ("aprovei", "sale_approved", ("products", 0, "title"), None),
        ("aprovei", "cart_abandoned", ("utms",), None),
        ("operator", "decision_lost", ("note",), None),
        ("operator", "decision_lost", ("note",), MISSING),
    ],
)
def test_what_the_documentation_tolerates_is_read(
    provider: str, name: str, path: Path, value: object
) -> None:
    sent = replaced(orjson.loads(body(provider, name)), path, value)

    assert isinstance(outcome(row(provider, sent), KEYED), Fact)


@pytest.mark.parametrize(("provider", "name"), ALL)
@pytest.mark.parametrize("levels", [200, 300, 1000])
def test_deep_nesting_is_read_or_refused_and_never_an_error(provider: str, name: str, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    sent = orjson.loads(body(provider, name))
    (sent["data"] if provider == "gen" else sent)["deep"] = raw(deep.decode())
    delivery = row(provider, sent)

    found = outcome(delivery, KEYED)

    if levels == 200:
        assert isinstance(found, Fact)
    else:
        # What cannot be written with sorted members has no digest, and so no identity.
        assert isinstance(found, str) and found.startswith("body: ")


@pytest.mark.parametrize(
    ("provider", "name", "member"),
    [
        ("barte", "order_paid", "uuid"),
        ("admin", "payment_approved", "id"),
        ("aprovei", "sale_approved", "transaction_token"),
    ],
)
def test_a_member_that_comes_twice_is_read_alike_at_the_door_and_in_the_fold(
    provider: str, name: str, member: str
) -> None:
    sent = body(provider, name).rstrip().removesuffix(b"}") + f', "{member}": "the-last"}}'.encode()
    delivery = row(provider, sent)

    fact = outcome(delivery)

    assert isinstance(fact, Fact)
    assert root_or_reason(delivery) == fact.root


@pytest.mark.parametrize(("length", "readable"), [(189, True), (190, False)])
def test_a_root_has_at_most_two_hundred_characters(length: int, readable: bool) -> None:  # noqa: FBT001
    sent = replaced(orjson.loads(body("admin", "payment_approved")), ("id",), "x" * length)

    assert len(f"shop:order:{'x' * 189}") == 200
    assert isinstance(outcome(row("admin", sent)), Fact) == readable


def _paths(inner: object, path: Path = ()) -> Iterator[Path]:
    steps: list[tuple[str | int, object]] = []
    if isinstance(inner, dict):
        steps = list(inner.items())
    elif isinstance(inner, list):
        steps = list(enumerate(inner))
    for step, value in steps:
        yield (*path, step)
        yield from _paths(value, (*path, step))


def _nested(levels: int) -> object:
    return raw("[" * levels + "]" * levels)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
BREAKAGES: st.SearchStrategy[object] = st.one_of(
    st.sampled_from([MISSING, None, True, False, 0, -1, 1.5, 2**63, 2**64 - 1, -(2**63)]),
    st.sampled_from(["", " ", "\x00", LONG, "2025-02-30T00:00:00Z", "1500-01-01T00:00:00Z", "NaN", "PAID"]),
    st.sampled_from([raw("1e308"), raw("18446744073709551616"), raw("0.1e-300"), raw("-0.0"), raw("45.905")]),
    st.sampled_from([raw("0e99999999999999999999"), raw("1e-99999999999999999999")]),
    st.sampled_from([[], {}, [None], {"id": None}, _nested(200), _nested(300), _nested(1000)]),
    st.text(max_size=20),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    ANY_JSON,
)


@st.composite
def broken_deliveries(draw: st.DrawFn) -> Delivery:
    provider, name = draw(st.sampled_from(ALL))
    document = orjson.loads(body(provider, name))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(sorted(_paths(document), key=str)))
        document = replaced(document, path, draw(BREAKAGES))
        document = orjson.loads(orjson.dumps(document)) if _is_shallow(document) else document
        if not _is_shallow(document):
            break
    return row(provider, document, kind=draw(st.sampled_from([None, "withdraw", "default"])))


def _is_shallow(document: object) -> bool:
    try:
        orjson.dumps(orjson.loads(orjson.dumps(document)))
    except (TypeError, orjson.JSONDecodeError):
        return False
    return True


@example(row("admin", b'{"id": "7", "type": "PAYMENT", "status": "APPROVED", "amount": 1e308}'), PLAIN)
@settings(deadline=None, max_examples=300)
@given(broken_deliveries(), st.sampled_from([PLAIN, KEYED]))
def test_one_broken_member_gives_a_fact_or_a_reason_and_one_root(
    delivery: Delivery, reading: Reading
) -> None:
    assert_kept(delivery, reading)


_WORDS: Final = frozenset(
    {"event", "type", "status", "domain", "payment_status", "payment_type", "method", "decision"}
)
"""Members whose texts are words, some of them also those of members' names."""


def assert_quotes_nothing(reason: str, provider: str, name: str) -> None:
    """No text of the valid fixture that could be an id or a person's is in the reason."""
    document = orjson.loads(body(provider, name))
    for path in _paths(document):
        value: Any = document
        for step in path:
            value = value[step]
        if isinstance(value, str) and len(value) > 3 and path[-1] not in _WORDS:
            assert value not in reason, path
