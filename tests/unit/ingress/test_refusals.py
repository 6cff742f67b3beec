"""How often refusals are told of."""

import asyncio
from collections.abc import Sequence

import structlog
from prometheus_client import REGISTRY

from service.ingress.refusals import NO_SOURCE, Refusals
from tests.servers import eventually


async def test_the_first_is_told_at_once_and_the_rest_together() -> None:
    refusals = Refusals(interval_s=0.05)

    with structlog.testing.capture_logs() as lines:
        for _ in range(5):
            refusals.add("shop", "hmac", "192.0.2.1")
        refusals.add("shop", "hmac", "192.0.2.2")
        refusals.add("shop", "url_token", None)
        at_once = [(line["reason"], line["count"], line["address"]) for line in lines]
        await eventually(lambda: _as_many(lines, 3), what="the others are told of")

    assert at_once == [("hmac", 1, "192.0.2.1"), ("url_token", 1, None)]
    rest = lines[2]
    assert (rest["source"], rest["reason"], rest["count"], rest["address"]) == (
        "shop",
        "hmac",
        5,
        "192.0.2.2",
    )


async def test_after_a_quiet_interval_the_next_is_told_at_once_again() -> None:
    refusals = Refusals(interval_s=0)

    with structlog.testing.capture_logs() as lines:
        refusals.add("shop", "hmac", None)
        for _ in range(5):
            await asyncio.sleep(0)
        refusals.add("shop", "hmac", None)

    assert [line["count"] for line in lines] == [1, 1]


async def _as_many(lines: Sequence[object], count: int) -> bool:
    return len(lines) == count


async def test_a_refusal_at_no_source_names_none() -> None:
    refusals = Refusals(interval_s=0)

    with structlog.testing.capture_logs() as lines:
        refusals.add(NO_SOURCE, "malformed head", "192.0.2.1")

    assert lines == [
        {
            "event": "ingress.refused",
            "log_level": "warning",
            "reason": "malformed head",
            "address": "192.0.2.1",
            "count": 1,
        }
    ]


async def test_every_refusal_is_counted_with_its_reason() -> None:
    refusals = Refusals()
    before = counted("hmac")

    with structlog.testing.capture_logs():
        for _ in range(5):
            refusals.add("counted", "hmac", None)
        refusals.add("counted", "path", None)

    assert (counted("hmac") - before, counted("path")) == (5, 1)


def counted(reason: str) -> float:
    labels = {"source": "counted", "reason": reason}
    return REGISTRY.get_sample_value("recibo_ingress_refused_total", labels) or 0.0
