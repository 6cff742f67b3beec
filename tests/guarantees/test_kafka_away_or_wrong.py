"""Promise 2, for Kafka: deliveries are taken while it is away and whatever topic is wrong."""

from pathlib import Path

import aiohttp
import asyncpg
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from service.kafka import topics
from tests.relays import drain, published, relay_of
from tests.roles import CONFIG, NO_SPILL, Process, role
from tests.servers import Kafka, fresh_prefix

AWAY = Kafka(bootstrap="127.0.0.1:1", prefix="")


async def test_an_ingress_starts_and_takes_deliveries_without_kafka(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    bodies = [b'{"id": "pay_%d", "type": "PAYMENT", "status": "APPROVED"}' % number for number in range(20)]

    async with role("ingress", database_url, AWAY, tmp_path, config=CONFIG + NO_SPILL) as ingress:
        statuses = [await _post(ingress, body) for body in bodies]
        code = await ingress.stop()
    await drain(relay_of("deliveries", database_url, kafka))

    records = sorted(await published(kafka), key=lambda record: record.position)
    assert statuses == [200] * 20
    assert code == 0
    assert [record.value for record in records] == bodies


async def test_who_uses_a_topic_with_another_number_of_partitions_halts_and_the_ingress_goes_on(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    wrong = Kafka(bootstrap=kafka.bootstrap, prefix=fresh_prefix())
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics(
        [NewTopic(name=wrong.prefix + topics.RAW, num_partitions=3, replication_factor=1)]
    )
    await admin.close()

    async with role("ingress", database_url, wrong, tmp_path, config=CONFIG + NO_SPILL) as ingress:
        statuses = [await _post(ingress, b'{"id": "pay_%d"}' % number) for number in range(20)]
        stopped = await ingress.stop()
    codes = {}
    for name in ("relay", "projector"):
        # With a crash point nobody waits for its health: it halts.
        async with role(name, database_url, wrong, tmp_path, crashpoint="none of them") as halting:
            codes[name] = await halting.process.wait()
            assert "webhooks.raw has 3 partitions, not 12" in halting.log.read_text()

    owner = await asyncpg.connect(database_url)
    assert await owner.fetchval("select count(*) from projector_position") == 0
    await owner.close()
    assert (statuses, stopped) == ([200] * 20, 0)
    assert codes == {"relay": 3, "projector": 3}


async def _post(ingress: Process, body: bytes) -> int:
    url = f"http://127.0.0.1:{ingress.port}/webhooks/shop"
    async with aiohttp.ClientSession() as http, http.post(url, data=body) as answer:
        return answer.status
