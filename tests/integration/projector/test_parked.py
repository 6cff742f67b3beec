"""A root whose fold fails waits with all its deliveries; once the code is mended they are folded in order."""

import asyncpg
import pytest

from projections.facts import Fact
from projections.fold import Root
from service.errors import PermanentError
from tests.deliveries import admin_payment
from tests.projectors import fold_up_to, projector_of, receive, retry_of, states
from tests.servers import Kafka

UNLUCKY = "shop:order:pay_3"


async def test_a_parked_root_comes_back_with_what_came_meanwhile_and_as_if_never_parked(
    database_url: str, kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["PENDING", "APPROVED", "REFUNDED"]
    rows = [
        [admin_payment(f"pay_{n}", word, f"2025-11-03T13:0{minute}:00Z") for n in range(6)]
        for minute, word in enumerate(words)
    ]
    owner = await asyncpg.connect(database_url)
    joined = Root.join

    def fail_for_the_unlucky(root: Root, fact: Fact) -> Root:
        if fact.root == UNLUCKY:
            raise RuntimeError("a bug that quotes ana.exemplo@example.com")
        return joined(root, fact)

    async with projector_of(database_url, kafka) as projector, retry_of(database_url) as retry:
        monkeypatch.setattr(Root, "join", fail_for_the_unlucky)
        await fold_up_to(projector, await receive(database_url, kafka, rows[0]))
        failed_again = await retry.parked([UNLUCKY])
        monkeypatch.setattr(Root, "join", joined)
        await fold_up_to(projector, await receive(database_url, kafka, rows[1] + rows[2]))
        waiting = await owner.fetchrow("select positions, reason from parked_root")
        others = await owner.fetchval("select count(*) from order_state where facts = 3")
        mended = await retry.parked([UNLUCKY])

    found = await states(owner)
    types = await owner.fetch(
        """select headers ->> 'ce_type' as type from event_log
           where partition_key = $1 and topic = 'orders' order by position""",
        UNLUCKY,
    )
    left = await owner.fetchval("select count(*) from parked_root")
    await owner.close()
    assert waiting is not None
    assert (sorted(waiting["positions"]), others) == ([4, 10, 16], 5)
    assert "RuntimeError at test_parked.py" in waiting["reason"]
    assert "ana.exemplo" not in waiting["reason"]
    assert (failed_again.folded, failed_again.still) == (0, 1)
    assert (mended.folded, mended.still, left) == (3, 0, 0)
    assert [row["type"] for row in types] == ["order.pending", "order.paid", "order.refunded"]
    assert len({(row[4], row[-1]) for row in found["order_state"]}) == 1


async def test_a_root_that_is_not_parked_cannot_be_retried(database_url: str, kafka: Kafka) -> None:
    await _positions_exist(database_url, kafka)

    async with retry_of(database_url) as retry:
        with pytest.raises(PermanentError, match="is not parked"):
            await retry.parked([UNLUCKY])


async def _positions_exist(database_url: str, kafka: Kafka) -> None:
    end = await receive(database_url, kafka, [admin_payment("pay_3", "APPROVED")])
    async with projector_of(database_url, kafka) as projector:
        await fold_up_to(projector, end)
