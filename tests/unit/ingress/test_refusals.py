"""How often refusals are told of."""

import asyncio
from collections.abc import Sequence

import structlog

from service.ingress.refusals import Refusals
from tests.servers import eventually


async def test_the_first_is_told_at_once_and_the_rest_together() -> None:
    refusals = Refusals(interval_s=0.05)

    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            refusals.add("shop", "hmac")
        refusals.add("shop", "url_token")
        at_once = [(line["check"], line["count"]) for line in lines]
        await eventually(lambda: _as_many(lines, 3), what="the others are told of")

    assert at_once == [("hmac", 1), ("url_token", 1)]
    assert (lines[2]["source"], lines[2]["check"], lines[2]["count"]) == ("shop", "hmac", 4)


async def test_after_a_quiet_interval_the_next_is_told_at_once_again() -> None:
    refusals = Refusals(interval_s=0)

    with structlog.testing.capture_logs() as lines:
        refusals.add("shop", "hmac")
        for _ in range(5):
            await asyncio.sleep(0)
        refusals.add("shop", "hmac")

    assert [line["count"] for line in lines] == [1, 1]


async def _as_many(lines: Sequence[object], count: int) -> bool:
    return len(lines) == count
