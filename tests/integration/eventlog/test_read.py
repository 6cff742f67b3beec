"""Reading deliveries back: every column as it was appended, instants to the microsecond."""

import datetime as dt

import pytest

from projections.delivery import Delivery
from service.eventlog import reader
from service.eventlog.deliveries import append_batch
from service.kafka.headers import nanoseconds
from service.postgres import connect
from tests.deliveries import new_delivery

INSTANTS = [
    dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    dt.datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 26, 12, 30, 15, 123_456, tzinfo=dt.UTC),
    dt.datetime(9999, 6, 30, 23, 59, 59, 999_999, tzinfo=dt.UTC),
]


@pytest.mark.parametrize("received_at", INSTANTS, ids=str)
async def test_a_delivery_comes_back_as_it_was_appended(database_url: str, received_at: dt.datetime) -> None:
    row = new_delivery(b"\x00\xff", root="shop:order:1", kind="withdraw", received_at=received_at)
    connection = await connect(database_url, application="test")
    await append_batch(connection, [row])
    recorded_at = await connection.fetchval("select recorded_at from delivery_log")

    (between,) = await reader.between(connection, after=0, up_to=1, rows_max=10, bytes_max=1_000)
    (at,) = await reader.at(connection, [1])
    await connection.close()

    assert between == at
    assert at == Delivery(
        position=1,
        source="shop",
        account="shop",
        provider="admin",
        root="shop:order:1",
        kind="withdraw",
        trust="none",
        received_at=nanoseconds(received_at),
        recorded_at=nanoseconds(recorded_at),
        body=b"\x00\xff",
    )


@pytest.mark.parametrize("long", [[], [0], [2], [5], [0, 1, 2, 3, 4, 5]], ids=str)
async def test_pages_are_dense_and_bounded_whatever_is_long(database_url: str, long: list[int]) -> None:
    bodies = [bytes(4_000 if at in long else 10) for at in range(6)]
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery(body) for body in bodies])

    pages, after = list[list[Delivery]](), 0
    while page := await reader.between(connection, after=after, up_to=9, rows_max=4, bytes_max=5_000):
        pages.append(page)
        after = page[-1].position
    await connection.close()

    assert [delivery.body for page in pages for delivery in page] == bodies
    assert [delivery.position for page in pages for delivery in page] == [1, 2, 3, 4, 5, 6]
    for page in pages:
        assert len(page) <= 4
        # The last one may exceed it: else a body longer than that would stop everything.
        assert sum(len(delivery.body) for delivery in page[:-1]) < 5_000
