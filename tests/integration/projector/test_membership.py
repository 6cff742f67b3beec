"""A projector keeps its place in the group: over a restart, over an outage of Postgres, beside others."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast
from urllib.parse import urlsplit

import asyncpg
import pytest
import structlog

from projections.delivery import PARTITIONS
from service.kafka import topics
from service.kafka.consumer import GroupMember, group_member
from service.localstack import Stack
from service.projector.member_name import MemberName
from service.projector.projector import Projector
from service.waiting import StalledError
from tests.deliveries import admin_payment
from tests.projectors import projector_of, receive
from tests.servers import Kafka, eventually

JOINING = "(Re-)joining group"


@asynccontextmanager
async def running(database_url: str, kafka: Kafka) -> AsyncIterator[Projector]:
    stopping = asyncio.Event()
    async with projector_of(database_url, kafka) as projector:
        task = asyncio.create_task(projector.run(stopping))
        try:
            yield projector
        finally:
            stopping.set()
            await task


async def share_all_partitions(*projectors: Projector) -> None:
    async def shared() -> bool:
        held = [partition for projector in projectors for partition in projector.places]
        return sorted(held) == list(range(PARTITIONS)) and all(projector.places for projector in projectors)

    await eventually(shared, what="the projectors share all partitions", timeout_s=60)


async def test_a_restarted_projector_takes_its_partitions_again_and_no_other_one_stops(
    database_url: str, kafka: Kafka
) -> None:
    await receive(database_url, kafka, [admin_payment(f"pay_{n}", "PENDING") for n in range(30)])
    async with running(database_url, kafka) as one:
        async with running(database_url, kafka) as other:
            await share_all_partitions(one, other)
            partitions = set(other.places)
        with structlog.testing.capture_logs() as lines:
            async with running(database_url, kafka) as again:
                await share_all_partitions(one, again)
                held = set(again.places)

    taken = [line["partitions"] for line in lines if line["event"] == "projector.taken_over"]
    assert held == partitions
    assert taken == [sorted(partitions)]


async def test_an_outage_of_postgres_does_not_cost_the_membership(
    stack: Stack, database_url: str, kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="aiokafka")
    admin = await asyncpg.connect(stack.database_url)
    name = urlsplit(database_url).path.removeprefix("/")

    async def folded(count: int) -> None:
        async def are() -> bool:
            owner = await asyncpg.connect(database_url)
            found: int = await owner.fetchval("select count(*) from order_state")
            await owner.close()
            return found == count

        await eventually(are, what=f"{count} orders are folded")

    async with running(database_url, kafka) as projector:
        await receive(database_url, kafka, [admin_payment(f"pay_{n}", "PENDING") for n in range(10)])
        await folded(10)
        await admin.execute(f"alter database {name} with allow_connections false")
        await admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1", name)

        async def waits() -> bool:
            return projector.waiting.details().get("waiting_for") == "postgres"

        await eventually(waits, what="the projector waits for Postgres")
        await admin.execute(f"alter database {name} with allow_connections true")
        await receive(database_url, kafka, [admin_payment(f"pay_{n}", "PENDING") for n in range(10, 20)])
        await folded(20)

    await admin.close()
    assert sum(JOINING in record.getMessage() for record in caplog.records) == 1


class Forgotten:
    """A member whose join Kafka never answers, or answers with no partition at all."""

    assigned: frozenset[int] = frozenset()

    def __init__(self, fetched: dict[int, object] | None) -> None:
        self._fetched = fetched

    async def fetch(self, **_limits: object) -> dict[int, object] | None:
        return self._fetched


@pytest.mark.parametrize("fetched", [None, {}], ids=["no answer", "no partition"])
async def test_a_projector_that_its_group_forgot_says_so_and_starts_over(
    database_url: str, kafka: Kafka, fetched: dict[int, object] | None
) -> None:
    async with projector_of(database_url, kafka, stalled_after_s=1.0) as projector:
        projector._is_named = True
        projector._assigned_at = time.monotonic() - 2.0

        with (
            structlog.testing.capture_logs() as lines,
            pytest.raises(StalledError, match="joining the group"),
        ):
            await projector.run_once(cast(GroupMember, Forgotten(fetched)))

    assert [(line["event"], line["step"]) for line in lines] == [("role.stalled", "joining the group")]


async def test_two_projectors_never_share_a_name(database_url: str) -> None:
    names = [MemberName(database_url=database_url, log="main") for _ in range(PARTITIONS + 1)]

    taken = [await name.take() for name in names]
    assert taken == [*map(str, range(PARTITIONS)), None]

    names[3].release()
    restarted = MemberName(database_url=database_url, log="main")

    async def is_free_again() -> bool:
        return await restarted.take() == "3"

    await eventually(is_free_again, what="the name of the one that ended is free")
    for name in (*names, restarted):
        name.release()


async def test_a_partition_of_another_member_is_not_sought(kafka: Kafka) -> None:
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(
                group_member(
                    kafka.bootstrap,
                    group=f"{kafka.prefix}test",
                    instance=None,
                    topic=kafka.prefix + topics.RAW,
                    on_rebalance=lambda: None,
                )
            )
            for _ in range(2)
        ]

        async def both_read() -> bool:
            for member in members:
                await member.fetch(timeout_s=0.05, gather_s=0, records_max=1)
            return all(member.assigned for member in members) and not (
                members[0].assigned & members[1].assigned
            )

        await eventually(both_read, what="each member has partitions of its own", timeout_s=60)
        (theirs, *_) = members[1].assigned
        (mine, *_) = members[0].assigned

        assert not members[0].seek(theirs, 0)
        assert members[0].seek(mine, 0)
