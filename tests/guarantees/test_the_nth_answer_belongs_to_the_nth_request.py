"""Promise 1, on one connection: whatever is sent over it, the n-th answer belongs to the n-th request.

A real ingress on a real Postgres; each receipt's row is held against the request that the receipt answers.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import orjson
import pytest

from tests import pipelines
from tests.pipelines import Exchange
from tests.roles import role
from tests.servers import Kafka

COUNT = 400
AT_ONCE = 16


# A run that fails is repeated by writing its seed, which the test's name shows, in here.
@pytest.mark.parametrize("seed", [random.SystemRandom().randrange(10**9)], ids=str)
async def test_every_receipt_is_that_of_the_request_with_its_number(
    seed: int, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    generator = pipelines.Generator(seed)
    (tmp_path / "secret").write_text(pipelines.SECRET)

    async with role("ingress", database_url, kafka, tmp_path, config=pipelines.CONFIG) as ingress:
        exchanges = await _run(ingress.port, [generator.exchange() for _ in range(COUNT)])

    owner = await asyncpg.connect(database_url)
    rows = {
        f"main-{row['position']}": row
        for row in await owner.fetch("select position, body, headers::text from delivery_log")
    }
    await owner.close()
    for exchange in exchanges:
        assert_in_order(exchange, rows)
    # Nothing else is stored: no request behind a closed one, none that stood in a body.
    assert len(rows) == sum(answer.status == 200 for one in exchanges for answer in one.answers)


def assert_in_order(exchange: Exchange, rows: dict[str, asyncpg.Record]) -> None:
    """The n-th answer is the n-th request's, up to the first request that closes the connection."""
    closing = next(at for at, request in enumerate(exchange.requests) if request.closes)
    answered = exchange.requests[: closing + 1]
    assert len(exchange.answers) == len(answered), exchange
    for request, answer in zip(answered, exchange.answers, strict=True):
        assert answer.status == request.status, exchange
        if answer.status == 200:
            row = rows.get(answer.receipt or "")
            assert row is not None, exchange
            assert row["body"] == request.body, exchange
            assert set(orjson.loads(row["headers"])) == request.header_names, exchange


async def _run(port: int, exchanges: Sequence[Exchange]) -> list[Exchange]:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(exchange: Exchange) -> Exchange:
        async with free:
            return await pipelines.run(port, exchange)

    return await asyncio.gather(*map(one, exchanges))
