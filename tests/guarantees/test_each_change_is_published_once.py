"""Promise 5, for the projector: what Kafka brings again is folded and told once."""

import asyncpg

from service.eventlog.deliveries import NewDelivery
from tests.deliveries import admin_payment
from tests.projectors import fold_up_to, projector_of, receive, states
from tests.servers import Kafka


def payments(count: int) -> list[NewDelivery]:
    return [
        admin_payment(f"pay_{number}", status, f"2025-11-03T13:0{minute}:00Z")
        for minute, status in enumerate(("PENDING", "APPROVED", "REFUNDED"))
        for number in range(count)
    ]


async def test_a_repeated_kafka_batch_changes_nothing(database_url: str, kafka: Kafka) -> None:
    end = await receive(database_url, kafka, payments(10))
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
    owner = await asyncpg.connect(database_url)
    before = (
        await states(owner),
        await owner.fetchval("select last_position from log_head where log = 'events'"),
    )

    # The hint says to read from the beginning: every record comes again.
    await owner.execute("update projector_position set kafka_offset = 0")
    async with projector_of(database_url, kafka) as projector, projector.joined() as consumer:
        while len(projector.places) < 12:
            await projector.run_once(consumer)
        for _ in range(5):
            assert await projector.run_once(consumer) == 0

    after = (
        await states(owner),
        await owner.fetchval("select last_position from log_head where log = 'events'"),
    )
    await owner.close()
    assert after == before
