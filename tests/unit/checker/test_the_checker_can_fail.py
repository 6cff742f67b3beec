"""A checker that cannot fail proves nothing: each fault, made on purpose in memory, is found by name."""

import hashlib
from collections.abc import Iterable, Sequence

import pytest

from tests.checker.accounts import Accounts, Entry, Request, gaps
from tests.checker.events import Expected
from tests.checker.live import Live, parked, quarantined
from tests.checker.naive import naive_states
from tests.checker.outbox import Event, Outbox
from tests.checker.passage import Passage, Record
from tests.checker.report import Finding, Report
from tests.unit.checker.rows import barte

BODY = hashlib.sha256(b"body").digest()
OTHER = hashlib.sha256(b"other").digest()
RAW = ("webhooks.raw", 3)
ROOT = "shop:order:b"


def kinds(findings: Iterable[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def sent(status: int | None = 200, receipt: str | None = None, *, source: str = "shop") -> Request:
    return Request(source, None, BODY, status, receipt)


def accounted(requests: Sequence[Request], rows: Sequence[Entry], unknown: int = 0) -> list[str]:
    accounts = Accounts("main")
    for request in requests:
        accounts.request(request)
    for _ in range(unknown):
        accounts.outcome_unknown(BODY)
    for row in rows:
        accounts.row(row)
    return kinds(accounts.findings())


def logged(position: int = 1, *, body: bytes = BODY, source: str = "shop", provider: str = "barte") -> Entry:
    return Entry(position, source, None, provider, body)


# 1: a receipt is a row.


def test_a_receipt_with_its_row_is_in_order() -> None:
    assert accounted([sent(receipt="main-1")], [logged()]) == []


def test_a_lost_delivery_is_found() -> None:
    assert "lost" in accounted([sent(receipt="main-1")], [])
    assert accounted([sent(), sent()], [logged()]) == ["lost"]


def test_a_lost_spilled_delivery_is_found() -> None:
    assert accounted([sent(receipt="spill-3-17")], []) == ["lost"]
    assert accounted([sent(receipt="spill-3-17")], [logged(9)]) == []


def test_a_receipt_that_names_another_row_is_found() -> None:
    assert accounted([sent(receipt="main-1")], [logged(2)]) == ["lost"]
    assert accounted([sent(receipt="main-1")] * 2, [logged(1), logged(2)]) == ["lost"]


def test_a_refused_delivery_must_be_where_its_receipt_says() -> None:
    def found(receipt: str, *refused: Entry) -> list[str]:
        accounts = Accounts("main")
        accounts.request(sent(receipt=receipt))
        for entry in refused:
            accounts.refused_row(entry)
        return kinds(accounts.findings())

    assert found("refused-1", logged(1)) == []
    assert found("spill-3-17", logged(1)) == []
    assert "lost" in found("refused-1")
    assert found("refused-1", logged(2)) == ["lost"]
    assert found("main-1", logged(1)) == ["lost"]
    assert found("refused-1", logged(1), logged(2)) == ["doubled"]


# 2: no row without a request or an unknown outcome.


def test_more_rows_than_requests_and_unknown_outcomes_are_found() -> None:
    assert accounted([sent()], [logged(1), logged(2)]) == ["doubled"]
    assert accounted([sent()], [logged(1), logged(2)], unknown=1) == []
    assert accounted([sent()], [logged(1), logged(2), logged(3)], unknown=1) == ["doubled"]


def test_a_request_without_an_answer_may_or_may_not_have_a_row() -> None:
    assert accounted([sent(status=None)], []) == accounted([sent(status=None)], [logged()]) == []
    assert accounted([sent(status=503)], []) == []


def test_a_row_of_a_refused_request_is_found() -> None:
    assert accounted([sent(status=401)], [logged()]) == ["doubled"]


# 3: dense.


def test_a_gap_in_the_positions_is_found() -> None:
    assert kinds(gaps("delivery", [1, 2, 3], head=3)) == []
    assert kinds(gaps("delivery", [], head=0)) == []
    assert kinds(gaps("delivery", [1, 2, 4], head=4)) == ["gap"]
    assert kinds(gaps("delivery", [2, 3], head=3)) == ["gap"]


def test_a_tail_that_the_head_knows_and_the_log_does_not_is_found() -> None:
    assert kinds(gaps("delivery", [1, 2], head=3)) == ["gap"]


# 4: each position read once, or shown missing.


def passed(records: Sequence[Record], *, rows: int = 3, checkpoint: int = 3) -> list[str]:
    passage = Passage("delivery")
    for position in range(1, rows + 1):
        passage.row(position, RAW, b"%d" % position, name=f"root {position}")
    for record in records:
        passage.record(record)
    return kinds(passage.findings({RAW: checkpoint}))


def record(position: int, prev: int | None, *, mark: bytes | None = None) -> Record:
    return Record(RAW, position, prev, mark or b"%d" % position)


ALL = [record(1, None), record(2, 1), record(3, 2)]


def test_a_whole_topic_is_in_order_and_repeats_are_dropped() -> None:
    assert passed(ALL) == []
    assert passed([*ALL[:2], *ALL]) == []


def test_a_position_that_kafka_hides_is_found() -> None:
    assert passed([record(1, None), record(3, 1)]) == ["unread"]
    assert passed([record(2, None), record(3, 2)]) == ["unread"]


def test_a_position_that_kafka_shows_to_be_missing_is_not_held_against_it() -> None:
    assert passed([record(1, None), record(3, 2)]) == []
    assert passed([record(3, 2)]) == []
    assert passed([]) == []


def test_a_tail_that_was_never_published_is_found() -> None:
    assert passed(ALL[:2], checkpoint=2) == ["unread"]


def test_a_record_behind_a_later_one_is_found() -> None:
    assert passed([record(1, None), record(3, 2), record(2, 1)]) == ["reordered"]


def test_a_record_that_the_log_does_not_have_or_has_otherwise_is_found() -> None:
    assert passed([*ALL, record(4, 3)]) == ["stranger"]
    assert passed([*ALL[:2], record(3, 2, mark=b"x")]) == ["stranger"]


def test_of_a_compacted_topic_only_the_newest_of_each_key_is_needed() -> None:
    state = ("orders.state", 3)
    for read, wanted in ((2, []), (1, ["unread"])):
        passage = Passage("event")
        for position in (1, 2):
            passage.row(position, state, b"m", name="state", key="k")
        passage.record(Record(state, read, None, b"m"))
        assert kinds(passage.findings({})) == wanted


# 5: the live state.


def test_a_wrong_state_is_found_and_shows_both() -> None:
    states = naive_states([barte("PAID", 1)])
    row = states[ROOT]["order_state"][0]

    found = compared(states, [row | {"status": "refunded"}])

    assert kinds(found) == ["wrong state"]
    assert found[0].detail == "status is 'refunded', not 'paid'"
    assert compared(states, [row]) == []


def test_a_missing_state_and_one_that_nobody_caused_are_found() -> None:
    states = naive_states([barte("PAID", 1)])
    row = states[ROOT]["order_state"][0]

    assert kinds(compared(states, [])) == ["wrong state"]
    assert kinds(compared(states, [row, row | {"root": "shop:order:nobody"}])) == ["stranger"]


def compared(
    states: dict[str, dict[str, list[dict[str, object]]]], rows: list[dict[str, object]]
) -> list[Finding]:
    live = Live()
    for root, tables in states.items():
        live.expect(root, tables)
    for row in rows:
        live.row("order_state", row)
    return list(live.findings())


def test_a_delivery_that_is_wrongly_in_quarantine_or_not_in_it_is_found() -> None:
    assert kinds(quarantined("main", {1, 2}, {2, 3})) == ["wrong state", "wrong state"]
    assert kinds(parked(frozenset(), {ROOT: "it raises"})) == ["wrong state"]
    assert kinds(parked(frozenset({ROOT}), {})) == ["wrong state"]
    assert kinds(parked(frozenset({ROOT}), {ROOT: "it is too large"})) == []


# 6: the events.


def published(ids: Sequence[str], *, event_type: str = "order.paid") -> list[str]:
    outbox = Outbox()
    for version in (1, 2):
        outbox.expect(Expected(event_id(version), "order.paid", "orders", ROOT, ROOT))
    for position, each in enumerate(ids, 1):
        outbox.event(Event(position, each, event_type, "orders", ROOT, ROOT))
    return kinds(outbox.findings())


def event_id(version: int) -> str:
    return f"{ROOT}@0001.{version:010}/0"


def test_events_that_follow_from_the_log_are_in_order() -> None:
    assert published([event_id(1), event_id(2)]) == []


def test_a_missing_event_is_found() -> None:
    assert published([event_id(1)]) == ["missing event"]


def test_a_doubled_event_is_found() -> None:
    assert published([event_id(1), event_id(2), event_id(2)]) == ["doubled event"]


def test_a_reordered_root_is_found_once() -> None:
    assert published([event_id(2), event_id(1)]) == ["reordered"]


def test_an_event_of_another_type_is_found() -> None:
    assert published([event_id(1), event_id(2)], event_type="order.updated") == ["mistyped event"] * 2


# 7: nobody's.


def test_an_event_that_nobody_caused_is_found() -> None:
    assert published([event_id(1), event_id(2), event_id(3)]) == ["stranger"]


def test_a_delivery_that_nobody_sent_is_found_except_an_operators() -> None:
    assert accounted([sent()], [logged(), logged(2, body=OTHER)]) == ["stranger"]
    assert accounted([sent(source="gate")], [logged()]) == ["lost", "stranger"]
    assert accounted([], [logged(body=OTHER, source="operator", provider="operator")]) == []


def test_a_record_that_is_not_the_relays_is_found() -> None:
    passage = Passage("delivery")
    passage.foreign(RAW, 7)
    assert kinds(passage.findings({})) == ["stranger"]


# The report.


@pytest.mark.parametrize("count", [1, 5000])
def test_a_report_counts_everything_and_names_the_first(count: int) -> None:
    report = Report(requests=2)
    report.add(Finding("lost", f"body {number}", "1 receipts, 0 rows") for number in range(count))

    assert (report.ok, report.violated, report.lost) == (False, [1], count)
    assert "body 0: 1 receipts, 0 rows" in str(report)
    assert Report().ok and "hold" in str(Report())
