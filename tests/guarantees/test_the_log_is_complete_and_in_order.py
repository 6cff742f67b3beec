"""Promise 3: positions are dense, in commit order, and what is written stays as it was."""

import asyncio
import random

import asyncpg
import pytest

from service.eventlog.deliveries import append_batch
from service.postgres import Connection, connect
from tests.deliveries import new_delivery


async def test_positions_are_dense_under_four_writers_whose_batches_roll_back(database_url: str) -> None:
    async def write(seed: int) -> int:
        chance = random.Random(seed)
        kept = 0
        connection = await connect(database_url, application="writer")
        for _ in range(60):
            rows = [new_delivery(b"%d" % seed)] * chance.randint(1, 20)
            transaction = connection.transaction()
            await transaction.start()
            await append_batch(connection, rows)
            if chance.random() < 0.3:
                await transaction.rollback()
            else:
                await transaction.commit()
                kept += len(rows)
        await connection.close()
        return kept

    kept = sum(await asyncio.gather(*(write(seed) for seed in range(4))))

    reader = await connect(database_url, application="reader")
    found = await reader.fetchrow("select count(*), min(position), max(position) from delivery_log")
    await reader.close()
    assert found is not None
    count, first, last = found
    assert count == kept
    assert count == last - first + 1


async def test_a_reader_that_follows_the_tail_misses_nothing_while_writers_race(database_url: str) -> None:
    async def write() -> None:
        connection = await connect(database_url, application="writer")
        for _ in range(100):
            await append_batch(connection, [new_delivery()] * 5)
        await connection.close()

    async def follow(total: int) -> list[int]:
        connection = await connect(database_url, application="reader")
        seen: list[int] = []
        while len(seen) < total:
            after = seen[-1] if seen else 0
            rows = await connection.fetch(
                "select position from delivery_log where position > $1 order by position limit 50", after
            )
            seen += [row["position"] for row in rows]
        await connection.close()
        return seen

    *_, seen = await asyncio.gather(write(), write(), write(), follow(1500))

    assert seen == list(range(1, 1501))


async def test_an_instant_maps_to_one_position(database_url: str) -> None:
    connection = await connect(database_url, application="writer")
    for _ in range(50):
        await append_batch(connection, [new_delivery()] * 3)

    instants = [
        row["recorded_at"]
        for row in await connection.fetch(
            "select recorded_at, count(*) from delivery_log group by recorded_at order by min(position)"
        )
    ]

    await connection.close()
    assert instants == sorted(set(instants))
    assert len(instants) == 50


@pytest.mark.parametrize("table", ["delivery_log", "event_log"])
async def test_the_log_refuses_change_even_to_its_owner(database_url: str, table: str) -> None:
    owner = await asyncpg.connect(database_url)
    await _one_row_each(owner)
    partition = await owner.fetchval(f"select tableoid::regclass::text from {table} limit 1")

    for target in (table, partition, f"{table}_default"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute(f"truncate {target}")
    for target in (table, partition):
        for change in (f"update {target} set position = 9 where position = 1", f"delete from {target}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
                await owner.execute(change)

    assert await owner.fetchval(f"select count(*) from {table}") == 1
    await owner.close()


@pytest.mark.parametrize("table", ["delivery_log", "event_log"])
@pytest.mark.parametrize("change", ["update {} set position = 9", "delete from {}", "truncate {}"])
async def test_the_service_has_no_right_to_change_the_log(database_url: str, table: str, change: str) -> None:
    service = await connect(database_url, application="service")

    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await service.execute(change.format(table))

    await service.close()


async def _one_row_each(connection: Connection) -> None:
    await append_batch(connection, [new_delivery()])
    await connection.execute(
        "select append_events('{orders}', '{k}', '{k}', '{id}', array['{}'::jsonb], array['x'::bytea])"
    )
