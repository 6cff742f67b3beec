"""A whole simulation against a small receiver: limits, counts, the ledger, and what it refuses."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from projections.facts import Reading
from service.checks import AuthorizationCheck
from service.declarations import Secret
from service.errors import InvariantError, PermanentError, TransientError
from service.settings import (
    DatabaseSettings,
    HealthSettings,
    IngressSettings,
    KafkaSettings,
    ProjectorSettings,
    RelaySettings,
    Settings,
    Source,
)
from service.simulation import ledger
from service.simulation.mixing import Mixture
from service.simulation.simulate import Options, Summary, simulate
from tests.unit.simulation.receiver import Request, receipt, receiver

TOKEN = Secret(b"the token of the shop")
GEN = Source(name="gen", provider="gen", account="gen", checks=(AuthorizationCheck(secrets=(TOKEN,)),))
OPEN = Source(name="open", provider="admin", account="open", checks=())


def settings(*sources: Source) -> Settings:
    return Settings(
        log_name="main",
        database=DatabaseSettings(url="", migration_url=""),
        kafka=KafkaSettings(bootstrap=""),
        sources={source.name: source for source in sources},
        reading=Reading(),
        ingress=IngressSettings(),
        relay=RelaySettings(),
        projector=ProjectorSettings(),
        health=HealthSettings(),
    )


def guarded(request: Request, before: int) -> web.Response:
    genuine = request.headers.get("Authorization") == TOKEN.decode()
    return receipt(request, before) if genuine else web.Response(status=401)


def unheard(_summary: Summary) -> None:
    pass


async def test_every_request_has_a_line_and_the_counts_agree(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    mixture = Mixture(duplicates=0.1, reordered=0.1, forged=0.1, unknown=0.1)

    async with receiver(guarded) as received:
        options = Options(url=received.url, seed=1, mixture=mixture, count=300, ledger=path)
        summary = await simulate(settings(GEN), options, unheard)

    lines = list(ledger.read(path))
    assert sorted(line.sequence for line in lines) == list(range(1, 301))
    assert sorted(line.body for line in lines) == sorted(request.body for request in received.requests)
    assert summary.deliveries == summary.attempts == 300
    assert summary.answers == {"200": summary.receipts, "401": summary.mutations["forged"]}
    assert {line.status for line in lines if line.mutation == "forged"} == {401}
    assert {line.status for line in lines if line.mutation != "forged"} == {200}


async def test_a_rate_and_a_duration_give_their_product() -> None:
    async with receiver(receipt) as received:
        options = Options(url=received.url, seed=1, mixture=Mixture(), rate=200, duration_s=0.25)
        summary = await simulate(settings(GEN), options, unheard)

    assert summary.deliveries == 50
    assert summary.seconds >= 0.24


async def test_it_stops_when_asked() -> None:
    stopping = asyncio.Event()

    def stop_at_ten(request: Request, before: int) -> web.Response:
        if before == 10:
            stopping.set()
        return receipt(request, before)

    async with receiver(stop_at_ten) as received:
        options = Options(url=received.url, seed=1, mixture=Mixture(), connections=2)
        summary = await simulate(settings(GEN), options, unheard, stopping=stopping)

    assert 10 <= summary.deliveries <= 12


async def test_progress_ends_with_the_whole_count() -> None:
    told: list[int] = []

    async with receiver(receipt) as received:
        options = Options(url=received.url, seed=1, mixture=Mixture(), count=20)
        await simulate(settings(GEN), options, lambda summary: told.append(summary.deliveries))

    assert told[-1] == 20


async def test_without_an_ingress_it_says_how_to_start_one() -> None:
    options = Options(url="http://127.0.0.1:9", seed=1, mixture=Mixture(), count=1)

    with pytest.raises(TransientError, match="recibo serve ingress"):
        await simulate(settings(GEN), options, unheard)


async def test_a_source_that_is_not_declared_is_named() -> None:
    options = Options(url="http://127.0.0.1:9", seed=1, mixture=Mixture(), count=1, sources=["shop"])

    with pytest.raises(PermanentError, match=r"no source shop in recibo\.toml: there are gen"):
        await simulate(settings(GEN), options, unheard)


async def test_forging_needs_a_source_with_a_secret() -> None:
    options = Options(url="http://127.0.0.1:9", seed=1, mixture=Mixture(forged=0.1), count=1)

    with pytest.raises(PermanentError, match="none can be forged"):
        await simulate(settings(OPEN), options, unheard)


async def test_a_forged_delivery_that_gets_a_receipt_is_an_alarm() -> None:
    async with receiver(receipt) as received:
        options = Options(url=received.url, seed=1, mixture=Mixture(forged=1.0), count=3)
        with pytest.raises(InvariantError, match="3 forged deliveries got a receipt"):
            await simulate(settings(GEN), options, unheard)


async def test_a_genuine_delivery_without_a_receipt_is_a_failure() -> None:
    async with receiver(lambda _request, _before: web.Response(status=500)) as received:
        options = Options(url=received.url, seed=1, mixture=Mixture(), count=3)
        with pytest.raises(TransientError, match="3 deliveries got no receipt"):
            await simulate(settings(GEN), options, unheard)
