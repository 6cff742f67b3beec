"""The lifeboat: every batch is in one store or refused at once, and every doubt is written down."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from service.errors import DatumRefusedError, InvariantError, OutcomeUnknownError, TransientError
from service.ingress.lifeboat import Lifeboat, Stored
from tests.deliveries import new_delivery
from tests.unit.ingress.log_fake import LogFake
from tests.unit.ingress.spill_fake import SpillFake

ROWS = [new_delivery(b"one"), new_delivery(b"two")]
IN_LOG = [Stored("main", 1), Stored("main", 2)]
IN_SPILL = [Stored("spill-3", 0), Stored("spill-3", 1)]


@pytest.fixture
def log() -> LogFake:
    return LogFake()


@pytest.fixture
def spill() -> SpillFake:
    return SpillFake(away=False)


@pytest.fixture
def lifeboat(log: LogFake, spill: SpillFake) -> Lifeboat:
    return Lifeboat(append=log.append, probe=log.probe, spill=spill, log_name="main")


async def away(lifeboat: Lifeboat, log: LogFake) -> None:
    log.failures = [TransientError("away")]
    await lifeboat.keep(ROWS)
    log.batches.clear()


def events(lines: Sequence[structlog.typing.EventDict]) -> list[str]:
    return [line["event"] for line in lines]


async def test_while_the_log_takes_them_nothing_is_spilled(
    lifeboat: Lifeboat, log: LogFake, spill: SpillFake
) -> None:
    assert await lifeboat.keep(ROWS) == IN_LOG
    assert lifeboat.health() == {"log": "ok"}
    assert spill.batches == []


@pytest.mark.parametrize(
    "error",
    [
        TransientError("away"),
        OutcomeUnknownError("lost"),
        DatumRefusedError("a value"),
        InvariantError("no table"),
        ZeroDivisionError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_keeps_the_log_from_taking_a_batch_it_is_spilled(
    lifeboat: Lifeboat, log: LogFake, error: Exception
) -> None:
    log.failures = [error]

    assert await lifeboat.keep(ROWS) == IN_SPILL
    assert lifeboat.health() == {"log": "away"}


async def test_a_row_that_the_log_refuses_has_a_place_of_its_own_and_is_no_outage(
    lifeboat: Lifeboat, log: LogFake, spill: SpillFake
) -> None:
    log.refused = frozenset({1})

    assert await lifeboat.keep(ROWS) == [Stored("main", 1), Stored("refused", 2)]

    assert spill.batches == []
    assert lifeboat.health() == {"log": "ok"}


async def test_while_the_log_is_away_it_is_left_alone(lifeboat: Lifeboat, log: LogFake) -> None:
    await away(lifeboat, log)

    await lifeboat.keep(ROWS)

    assert log.batches == []


async def test_both_ways_are_told_once_each(lifeboat: Lifeboat, log: LogFake) -> None:
    log.failures = [TransientError("away")]
    log.probes = [TransientError("still away"), None]

    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            await lifeboat.keep(ROWS)
        await lifeboat.run_once()
        await lifeboat.run_once()
        kept = await lifeboat.keep(ROWS)

    assert kept == IN_LOG
    assert events(lines) == ["ingress.log_away", "ingress.log_back"]


async def test_a_log_that_relapses_is_one_outage(lifeboat: Lifeboat, log: LogFake) -> None:
    log.failures = [TransientError("disk full")] * 4

    with structlog.testing.capture_logs() as lines:
        for _ in range(4):
            await lifeboat.keep(ROWS)
            await lifeboat.run_once()
        await lifeboat.keep(ROWS)

    assert events(lines) == ["ingress.log_away", "ingress.log_back"]


async def test_without_traffic_the_probes_word_stands(lifeboat: Lifeboat, log: LogFake) -> None:
    await away(lifeboat, log)

    await lifeboat.run_once()
    await lifeboat.run_once()

    assert lifeboat.health() == {"log": "ok"}


async def test_a_trial_under_way_is_not_cut_short(lifeboat: Lifeboat, log: LogFake) -> None:
    await away(lifeboat, log)
    await lifeboat.run_once()
    log.open.clear()
    log.failures = [TransientError("away")]
    keeping = asyncio.create_task(lifeboat.keep(ROWS))
    await asyncio.sleep(0)

    await lifeboat.run_once()
    log.open.set()

    assert lifeboat.health() == {"log": "away"}
    assert (await keeping)[0].place == "spill-3"


async def test_with_both_away_a_batch_is_refused_at_once(
    lifeboat: Lifeboat, log: LogFake, spill: SpillFake
) -> None:
    await away(lifeboat, log)
    spill.away = True

    with pytest.raises(TransientError):
        await lifeboat.keep(ROWS)

    assert log.batches == []


async def test_an_unknown_append_is_written_down_per_delivery_before_the_spill(
    lifeboat: Lifeboat, log: LogFake, spill: SpillFake
) -> None:
    log.failures = [OutcomeUnknownError("lost")]

    with structlog.testing.capture_logs() as lines:
        assert await lifeboat.keep(ROWS) == IN_SPILL

    assert log.batches == [ROWS]
    assert [line for line in lines if line["event"] == "ingress.outcome_unknown"] == [
        {
            "event": "ingress.outcome_unknown",
            "log_level": "warning",
            "body_sha256": row.body_sha256.hex(),
            "store": "log",
            "attempt": 1,
        }
        for row in ROWS
    ]


async def test_with_the_spill_away_a_cut_connection_is_tried_once_more(
    lifeboat: Lifeboat, log: LogFake, spill: SpillFake
) -> None:
    spill.away = True
    log.failures = [OutcomeUnknownError("lost")]

    with structlog.testing.capture_logs() as lines:
        assert await lifeboat.keep(ROWS) == IN_LOG

    assert events(lines) == ["ingress.outcome_unknown"] * 2
    assert lifeboat.health() == {"log": "ok"}


async def test_an_unknown_spill_is_written_down_and_the_sender_told_to_retry(
    lifeboat: Lifeboat, log: LogFake, spill: SpillFake
) -> None:
    await away(lifeboat, log)
    spill.failures = [OutcomeUnknownError("not confirmed")]

    with structlog.testing.capture_logs() as lines, pytest.raises(TransientError):
        await lifeboat.keep(ROWS)

    assert [line["store"] for line in lines if line["event"] == "ingress.outcome_unknown"] == ["spill"] * 2
