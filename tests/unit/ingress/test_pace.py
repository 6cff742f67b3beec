"""How fast refusals are answered."""

import asyncio

from service.ingress.pace import Pace


async def test_a_few_need_not_wait() -> None:
    pace = Pace(per_second=0.001, burst=100)

    assert [await pace.turn() for _ in range(100)] == [True] * 100


async def test_who_floods_waits_and_the_pace_is_kept() -> None:
    pace, clock = Pace(per_second=500, burst=1), asyncio.get_running_loop().time
    began = clock()

    assert [await pace.turn() for _ in range(51)] == [True] * 51

    assert clock() - began >= 49 / 500


async def test_where_too_many_wait_the_next_is_told_at_once() -> None:
    pace, clock = Pace(per_second=1_000, burst=1), asyncio.get_running_loop().time
    began = clock()

    async with asyncio.TaskGroup() as group:
        turns = [group.create_task(pace.turn()) for _ in range(3_000)]

    in_turn = sum(turn.result() for turn in turns)
    assert 250 <= in_turn < 3_000
    assert in_turn <= 2 + 1_000 * (clock() - began)


async def test_those_who_were_sent_away_do_not_delay_the_next() -> None:
    pace, clock = Pace(per_second=1_000, burst=1), asyncio.get_running_loop().time
    async with asyncio.TaskGroup() as group:
        for _ in range(5_000):
            group.create_task(pace.turn())
    began = clock()

    assert await pace.turn()

    assert clock() - began < 1
