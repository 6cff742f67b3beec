"""Group commit: in order, one append at a time, bounded, and everyone who waits hears the outcome."""

import asyncio
import dataclasses
import datetime as dt
import hashlib
from collections.abc import Sequence

import pytest

from service.errors import DatumRefusedError, TransientError
from service.eventlog.deliveries import NewDelivery
from service.ingress.batch import GroupCommit, QueueFull
from service.ingress.lifeboat import Lifeboat, Stored
from service.settings import IngressSettings
from tests.unit.ingress.log_fake import LogFake
from tests.unit.ingress.spill_fake import SpillFake

SETTINGS = IngressSettings()


def delivery(body: bytes = b"{}") -> NewDelivery:
    return NewDelivery(
        source="shop",
        account="shop",
        provider="barte",
        root=None,
        kind=None,
        received_at=dt.datetime(2025, 11, 3, tzinfo=dt.UTC),
        trust="none",
        remote_ip=None,
        headers="{}",
        body=body,
        body_sha256=hashlib.sha256(body).digest(),
    )


def group_commit(log: LogFake, settings: IngressSettings) -> GroupCommit:
    """One whose deliveries go to `log`, or nowhere."""
    spill = SpillFake(away=True)
    lifeboat = Lifeboat(append=log.append, probe=log.probe, spill=spill, log_name="main")
    return GroupCommit(lifeboat.keep, settings)


def append_all(batch: GroupCommit, rows: Sequence[NewDelivery]) -> list[asyncio.Task[Stored]]:
    return [asyncio.create_task(batch.append(row)) for row in rows]


async def held_up(log: LogFake, batch: GroupCommit) -> asyncio.Task[Stored]:
    """The task of one delivery whose append is under way and waits."""
    log.open.clear()
    first = asyncio.create_task(batch.append(delivery(b"first")))
    await log.entered.wait()
    return first


@pytest.fixture
async def log() -> LogFake:
    return LogFake()


async def test_each_delivery_gets_its_own_position_in_order_of_arrival(log: LogFake) -> None:
    batch = group_commit(log, SETTINGS)
    rows = [delivery(b"%d" % n) for n in range(50)]

    stored = await asyncio.gather(*append_all(batch, rows))

    assert [one.position for one in stored] == list(range(1, 51))
    assert log.rows == rows


async def test_what_arrives_during_an_append_is_the_next_batch_and_only_one_is_under_way(
    log: LogFake,
) -> None:
    batch = group_commit(log, SETTINGS)
    first = await held_up(log, batch)
    others = append_all(batch, [delivery(b"%d" % n) for n in range(20)])
    await asyncio.sleep(0)

    log.open.set()
    await asyncio.gather(first, *others)

    assert [len(rows) for rows in log.batches] == [1, 20]
    assert log.concurrent_max == 1


async def test_a_batch_is_bounded_in_rows(log: LogFake) -> None:
    batch = group_commit(log, dataclasses.replace(SETTINGS, batch_rows_max=8))

    await asyncio.gather(*append_all(batch, [delivery()] * 20))

    assert [len(rows) for rows in log.batches] == [8, 8, 4]


async def test_a_batch_is_bounded_in_bytes_but_takes_one_row_of_any_size(log: LogFake) -> None:
    batch = group_commit(log, dataclasses.replace(SETTINGS, batch_bytes_max=10_000))

    await asyncio.gather(
        *append_all(batch, [delivery(b"x" * size) for size in (4000, 4000, 4000, 20_000, 10)])
    )

    assert [[len(row.body) for row in rows] for rows in log.batches] == [[4000, 4000], [4000], [20_000], [10]]


async def test_a_full_queue_is_refused_at_once_and_takes_more_when_it_has_emptied(log: LogFake) -> None:
    batch = group_commit(log, dataclasses.replace(SETTINGS, queue_rows_max=3))
    first = await held_up(log, batch)
    others = append_all(batch, [delivery()] * 3)
    await asyncio.sleep(0)

    with pytest.raises(QueueFull):
        await batch.append(delivery())

    log.open.set()
    await asyncio.gather(first, *others)
    assert (await batch.append(delivery())).position == 5


async def test_the_queue_is_bounded_in_bytes(log: LogFake) -> None:
    batch = group_commit(log, dataclasses.replace(SETTINGS, queue_bytes_max=10_000))
    first = await held_up(log, batch)
    second = asyncio.create_task(batch.append(delivery(b"x" * 9000)))
    await asyncio.sleep(0)

    with pytest.raises(QueueFull):
        await batch.append(delivery(b"x" * 9000))

    log.open.set()
    await asyncio.gather(first, second)
    assert batch.health() == {"queued_rows": 0, "queued_bytes": 0}


@pytest.mark.parametrize("error", [DatumRefusedError("refused"), ZeroDivisionError()])
async def test_a_batch_that_cannot_be_kept_is_told_to_all_of_it_and_to_nobody_else(
    log: LogFake, error: Exception
) -> None:
    failures: list[Exception] = [error]

    async def keep(rows: Sequence[NewDelivery]) -> Sequence[Stored]:
        if failures:
            raise failures.pop()
        return [Stored("main", 1)] * len(rows)

    batch = GroupCommit(keep, dataclasses.replace(SETTINGS, batch_rows_max=2))

    outcomes = await asyncio.gather(*append_all(batch, [delivery()] * 4), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [TransientError, TransientError, Stored, Stored]
    assert outcomes[0] is not outcomes[1]


async def test_a_row_that_was_refused_says_so(log: LogFake) -> None:
    batch = group_commit(log, SETTINGS)
    log.refused = frozenset({1})

    stored = await asyncio.gather(*append_all(batch, [delivery()] * 3))

    assert [one.place for one in stored] == ["main", "refused", "main"]


async def test_a_client_that_goes_away_takes_nothing_with_it(log: LogFake) -> None:
    batch = group_commit(log, SETTINGS)
    first = await held_up(log, batch)
    gone, stays = append_all(batch, [delivery(b"gone"), delivery(b"stays")])
    await asyncio.sleep(0)

    first.cancel()
    gone.cancel()
    log.open.set()

    assert (await stays).position == 3
    assert [row.body for row in log.rows] == [b"first", b"gone", b"stays"]


async def test_drain_returns_once_everything_is_in_the_log(log: LogFake) -> None:
    batch = group_commit(log, dataclasses.replace(SETTINGS, batch_rows_max=2))
    first = await held_up(log, batch)
    others = append_all(batch, [delivery()] * 5)
    await asyncio.sleep(0)
    draining = asyncio.create_task(batch.drain())
    await asyncio.sleep(0)
    assert not draining.done()

    log.open.set()
    await draining

    assert len(log.rows) == 6
    await asyncio.gather(first, *others)


async def test_drain_of_an_idle_queue_returns_at_once(log: LogFake) -> None:
    await group_commit(log, SETTINGS).drain()
