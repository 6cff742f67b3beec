"""A spilled row comes back as it was, whatever stands in it."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvariantError
from service.eventlog.deliveries import NewDelivery
from service.spill import wire
from tests.deliveries import new_delivery

ANY_TEXT = st.text(st.characters(exclude_categories=()))

ROWS = st.builds(
    NewDelivery,
    source=ANY_TEXT,
    account=ANY_TEXT,
    provider=ANY_TEXT,
    root=st.none() | ANY_TEXT,
    kind=st.none() | ANY_TEXT,
    received_at=st.datetimes(timezones=st.just(dt.UTC)),
    trust=ANY_TEXT,
    remote_ip=st.none() | ANY_TEXT,
    headers=ANY_TEXT,
    body=st.binary(),
    body_sha256=st.binary(min_size=32, max_size=32),
)


@given(row=ROWS)
def test_every_column_comes_back(row: NewDelivery) -> None:
    assert wire.decode(wire.encode(row, log="main"), row.body) == row


@pytest.mark.parametrize(
    "row",
    [
        new_delivery(root=None),
        new_delivery(root=""),
        new_delivery(b"\x00" * 1_048_576),
        new_delivery(headers='{"x": "a\\\\x00b"}', root="shop:order:\x00", remote_ip=None),
    ],
    ids=["no root", "an empty root", "1 MiB", "an escaped NUL"],
)
def test_what_is_easily_confused_is_kept_apart(row: NewDelivery) -> None:
    assert wire.decode(wire.encode(row, log="main"), row.body) == row


def test_a_record_names_its_log() -> None:
    assert wire.log_of(wire.encode(new_delivery(), log="main")) == "main"
    assert wire.log_of([("something", b"else")]) is None


@pytest.mark.parametrize("name", ["format", "source", "received_at", "body_sha256"])
def test_a_record_that_is_not_ours_stops_the_drain(name: str) -> None:
    headers = [header for header in wire.encode(new_delivery(), log="main") if header[0] != name]

    with pytest.raises(InvariantError):
        wire.decode(headers, b"{}")
