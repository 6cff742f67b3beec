"""Waiting for a store: said once, longer each time up to a cap, from the start after success."""

import asyncio

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError

from service import telemetry, waiting
from service.errors import TransientError
from service.waiting import Rounds, StalledError, Waiting, store_of

POSTGRES = TransientError("away", store="postgres")
KAFKA = KafkaConnectionError()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited each time, without waiting."""
    seconds: list[float] = []

    async def pause(s: float, _stopping: asyncio.Event) -> None:
        seconds.append(s)

    monkeypatch.setattr(waiting, "pause", pause)
    return seconds


async def test_the_waits_double_up_to_the_cap_and_begin_anew_after_success(slept: list[float]) -> None:
    role = Waiting("relay", first_s=1.0, longest_s=4.0)
    for _ in range(6):
        await role.after(POSTGRES, asyncio.Event())
    role.over()
    await role.after(POSTGRES, asyncio.Event())

    for seconds, longest in zip(slept, [1, 2, 4, 4, 4, 4, 1], strict=True):
        assert longest / 2 <= seconds <= longest


async def test_a_wait_is_told_when_it_begins_and_when_it_ends(slept: list[float]) -> None:
    role = Waiting("relay")
    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            await role.after(POSTGRES, asyncio.Event())
        role.over()
        role.over()

    assert [(line["event"], line["role"], line["store"]) for line in lines] == [
        ("store.away", "relay", "postgres"),
        ("store.back", "relay", "postgres"),
    ]


async def test_health_says_what_is_waited_for_and_since_when(slept: list[float]) -> None:
    role = Waiting("relay")
    assert role.details() == {}

    await role.after(KAFKA, asyncio.Event())
    details = role.details()
    role.over("postgres")
    still = role.details()
    role.over("kafka")

    assert details["waiting_for"] == "kafka"
    assert details == still
    assert role.details() == {}


async def test_an_error_of_no_store_is_told_each_time(slept: list[float]) -> None:
    role = Waiting("relay")
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            await role.after(ZeroDivisionError(), asyncio.Event())

    assert [line["event"] for line in lines] == ["role.started_over"] * 2


@pytest.mark.parametrize(
    ("error", "store"),
    [(POSTGRES, "postgres"), (KAFKA, "kafka"), (TransientError("busy"), None), (KeyError(), None)],
)
def test_an_error_tells_which_store_is_away(error: Exception, store: str | None) -> None:
    assert store_of(error) == store


async def test_a_step_that_does_not_end_is_given_up_and_named() -> None:
    rounds = Rounds("relay", stalled_after_s=0.05)
    gauge = telemetry.STALLED.labels(role="relay")

    async def publish_for_ever() -> None:
        async with rounds.watched():
            rounds.step("reading the log")
            rounds.step("publishing", "kafka")
            await asyncio.Event().wait()

    with (
        structlog.testing.capture_logs() as lines,
        pytest.raises(StalledError, match="publishing") as stalled,
    ):
        await publish_for_ever()

    assert store_of(stalled.value) == "kafka"
    assert gauge._value.get() == 1
    rounds.came_round()
    assert gauge._value.get() == 0
    assert [(line["event"], line["role"], line["step"]) for line in lines] == [
        ("role.stalled", "relay", "publishing")
    ]


async def test_each_step_has_the_whole_time() -> None:
    rounds = Rounds("relay", stalled_after_s=60)

    async with rounds.watched():
        deadline = rounds._deadline
        assert deadline is not None
        before = deadline.when()
        await asyncio.sleep(0.001)
        rounds.step("the next")
        after = deadline.when()

    assert before is not None
    assert after is not None
    assert after > before


async def test_a_limit_inside_a_step_is_no_stall() -> None:
    rounds = Rounds("relay", stalled_after_s=5)

    with pytest.raises(TimeoutError):
        async with rounds.watched(), asyncio.timeout(0.01):
            await asyncio.Event().wait()
