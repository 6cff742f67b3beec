"""No root is so large, and has so many facts, that another one waits for it."""

import dataclasses

import asyncpg
import msgspec
import pytest

from projections.facts import Reading
from projections.providers import root_of
from service import telemetry
from service.errors import InvariantError
from service.eventlog.deliveries import NewDelivery
from tests.bodies import document
from tests.deliveries import admin_payment, new_delivery
from tests.projectors import SETTINGS, fold_up_to, projector_of, receive, retry_of
from tests.relays import drain, relay_of
from tests.servers import Kafka

HOT = "shop:order:hot"
LIMITED = Reading(facts_max=40)


def gen_payment_with_a_long_reference(number: int) -> NewDelivery:
    """One of three payments of Gen's one order, as large as a body may be."""
    sent = document("gen", "pix_paid")
    sent["data"] |= {"id": f"payment {number}", "external_id": f"{number}" * 1_000_000}
    return new_delivery(
        msgspec.json.encode(sent), source="gen", provider="gen", root=root_of("gen", "shop", sent, None)
    )


def hot(first: int, count: int) -> list[NewDelivery]:
    """Facts of one order: it is paid and disputed by turns."""
    return [
        admin_payment(
            "hot",
            ("APPROVED", "IN_DISPUTE")[n % 2],
            f"2025-11-{3 + n // 1440:02}T{n // 60 % 24:02}:{n % 60:02}:00Z",
        )
        for n in range(first, first + count)
    ]


async def facts_by_root(owner: "asyncpg.Connection[asyncpg.Record]") -> dict[str, int]:
    return {row["root"]: row["facts"] for row in await owner.fetch("select root, facts from order_state")}


async def test_an_order_too_large_for_kafka_is_parked_and_everybody_elses_events_go_out(
    database_url: str, kafka: Kafka
) -> None:
    large = [gen_payment_with_a_long_reference(number) for number in range(3)]
    others = [admin_payment(f"pay_{n}", "APPROVED") for n in range(5)]
    end = await receive(database_url, kafka, [*large, *others])
    before = telemetry.PROJECTOR_TOO_LARGE._value.get()

    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
    told = await drain(relay_of("events", database_url, kafka))

    owner = await asyncpg.connect(database_url)
    (parked,) = await owner.fetch("select root, positions, reason from parked_root")
    orders = await owner.fetchval("select count(*) from order_state where status = 'paid'")
    largest = await owner.fetchval("select max(octet_length(value)) from event_log")
    await owner.close()
    assert (parked["root"], sorted(parked["positions"])) == (large[0].root, [1, 2, 3])
    assert "fold.state_bytes_max" in parked["reason"]
    assert "0" * 50 not in parked["reason"]
    assert telemetry.PROJECTOR_TOO_LARGE._value.get() > before
    assert (orders, told) == (5, 10)
    assert largest < 2_000


async def test_a_root_is_parked_beyond_its_limit_of_facts_and_the_log_keeps_all(
    database_url: str, kafka: Kafka
) -> None:
    owner = await asyncpg.connect(database_url)
    async with projector_of(database_url, kafka, reading=LIMITED) as projector:
        await fold_up_to(projector, await receive(database_url, kafka, hot(0, 40)))
        whole = await owner.fetchrow("select facts, status from order_state")
        await fold_up_to(projector, await receive(database_url, kafka, [*hot(40, 25), *hot(39, 1)]))
        await fold_up_to(projector, await receive(database_url, kafka, [admin_payment("pay_1", "APPROVED")]))

    parked = await owner.fetchrow("select root, cardinality(positions) as waiting, reason from parked_root")
    facts = await facts_by_root(owner)
    kept = await owner.fetchval("select count(*) from delivery_log")
    assert whole is not None
    assert parked is not None
    assert (whole["facts"], facts) == (40, {HOT: 40, "shop:order:pay_1": 1})
    assert (parked["root"], parked["waiting"], kept) == (HOT, 26, 67)
    assert "fold.facts_max" in parked["reason"]

    async with retry_of(database_url, Reading(facts_max=100)) as retry:
        retried = await retry.parked([HOT])
    facts = await facts_by_root(owner)
    await owner.close()
    assert (retried.folded, retried.still) == (26, 0)
    assert facts[HOT] == 65


async def test_a_batch_with_too_many_bytes_of_events_is_folded_in_parts(
    database_url: str, kafka: Kafka
) -> None:
    deliveries = [*hot(0, 60), *(admin_payment(f"pay_{n}", "APPROVED") for n in range(30))]
    end = await receive(database_url, kafka, deliveries)
    settings = dataclasses.replace(SETTINGS, batch_event_bytes_max=20_000)
    before = telemetry.PROJECTOR_HALVED._value.get()

    async with projector_of(database_url, kafka, settings=settings) as projector:
        await fold_up_to(projector, end)

    owner = await asyncpg.connect(database_url)
    facts = await facts_by_root(owner)
    parked = await owner.fetchval("select count(*) from parked_root")
    types = await owner.fetchval(
        "select count(*) from event_log where topic = 'orders' and partition_key = $1", HOT
    )
    transactions = await owner.fetchval("select count(distinct recorded_at) from event_log")
    await owner.close()
    assert (facts[HOT], len(facts), parked, types) == (60, 31, 0, 60)
    assert telemetry.PROJECTOR_HALVED._value.get() > before
    assert transactions > 2


async def test_a_parked_root_is_folded_in_parts_where_one_would_be_too_large(
    database_url: str, kafka: Kafka
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute("alter table order_state add constraint unlucky check (root <> 'shop:order:hot')")
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, await receive(database_url, kafka, hot(0, 300)))
    await owner.execute("alter table order_state drop constraint unlucky")

    async with retry_of(database_url, event_bytes_max=20_000) as retry:
        retried = await retry.parked([HOT])

    facts = await owner.fetchval("select facts from order_state")
    left = await owner.fetchval("select count(*) from parked_root")
    published = await owner.fetchval("select count(*) from event_log where topic = 'orders'")
    await owner.close()
    assert (retried.folded, retried.still, facts, left, published) == (300, 0, 300, 0, 300)


async def test_an_event_log_that_refuses_its_next_position_halts_and_parks_nobody(
    database_url: str, kafka: Kafka
) -> None:
    owner = await asyncpg.connect(database_url)
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, await receive(database_url, kafka, [admin_payment("pay_1", "PENDING")]))
        await owner.execute("update log_head set last_position = 0 where log = 'events'")
        end = await receive(database_url, kafka, [admin_payment("pay_1", "APPROVED")])

        with pytest.raises(InvariantError, match="log_head is behind event_log"):
            await fold_up_to(projector, end)

    parked = await owner.fetchval("select count(*) from parked_root")
    await owner.close()
    assert parked == 0


async def test_a_timeline_that_a_newer_release_wrote_halts_and_is_never_written_again(
    database_url: str, kafka: Kafka
) -> None:
    owner = await asyncpg.connect(database_url)
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, await receive(database_url, kafka, [admin_payment("pay_1", "PENDING")]))
        (fact,) = msgspec.json.decode(await owner.fetchval("select document from timeline"))
        newer = msgspec.json.encode([fact | {"installments": 3}])
        await owner.execute("update timeline set document = $1", newer)
        end = await receive(database_url, kafka, [admin_payment("pay_1", "APPROVED")])

        with pytest.raises(InvariantError, match="written by a newer release"):
            await fold_up_to(projector, end)

    kept = await owner.fetchval("select document from timeline")
    parked = await owner.fetchval("select count(*) from parked_root")
    await owner.close()
    assert (kept, parked) == (newer, 0)
