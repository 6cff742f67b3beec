"""Promise 7, at its worst moment: a retry while the projector folds the very same roots."""

import asyncio

import asyncpg

from service.eventlog.deliveries import NewDelivery
from tests.deliveries import admin_payment, new_delivery
from tests.projectors import fold_up_to, projector_of, receive, retry_of
from tests.servers import Kafka

ROOTS = 60


def payments(word: str, minute: int) -> list[NewDelivery]:
    return [admin_payment(f"pay_{n}", word, f"2025-11-03T13:0{minute}:00Z") for n in range(ROOTS)]


def without_a_root(deliveries: list[NewDelivery]) -> list[NewDelivery]:
    """As an ingress stores them that cannot read their roots yet: live they are quarantined."""
    return [new_delivery(one.body, root=None) for one in deliveries]


async def test_two_retries_beside_the_running_projector_lose_and_double_nothing(
    database_url: str, kafka: Kafka
) -> None:
    before = await receive(
        database_url, kafka, payments("PENDING", 1) + without_a_root(payments("APPROVED", 2))
    )
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, before)
        owner = await asyncpg.connect(database_url)
        set_aside = await owner.fetchval("select count(*) from quarantine")
        after = await receive(
            database_url, kafka, payments("IN_DISPUTE", 3) + payments("APPROVED", 4) + payments("REFUNDED", 5)
        )

        async with retry_of(database_url) as one, retry_of(database_url) as other:
            *_, first, second = await asyncio.gather(
                fold_up_to(projector, after), one.quarantined(), other.quarantined()
            )

    orders = await owner.fetch("select status, facts, flags::text from order_state")
    ids = [row["event_id"] for row in await owner.fetch("select event_id from event_log")]
    left = await owner.fetchval("select count(*) from quarantine")
    await owner.close()
    assert (set_aside, left, first.still, second.still) == (ROOTS, 0, 0, 0)
    assert [(row["status"], row["facts"]) for row in orders] == [("refunded", 5)] * ROOTS
    assert len({row["flags"] for row in orders}) == 1
    assert len(ids) == len(set(ids))
    versions = [f"shop:order:pay_{n}@0001.{facts:010}" for n in range(ROOTS) for facts in range(1, 6)]
    assert {f"{version}/0/state" for version in versions} <= set(ids)
