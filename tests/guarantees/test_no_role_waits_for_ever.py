"""A role that a server leaves without an answer names the step, gives it up, and starts over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deliveries import admin_payment
from tests.outages import Servers, frozen, servers
from tests.roles import Process, role
from tests.servers import Kafka, eventually, fresh_topics, new_database
from tests.systems import CONFIG, system

IMPATIENT = f"stalled_after_s = 1.0\n{CONFIG}"


@pytest.fixture(scope="module")
def own(run_folder: Path) -> Iterator[Servers]:
    folder = run_folder / "stalls"
    folder.mkdir(parents=True)
    with servers(folder) as both:
        yield both


@pytest.fixture
async def database_url(own: Servers) -> str:
    return await new_database(own.database_url)


@pytest.fixture
async def kafka(own: Servers) -> Kafka:
    return await fresh_topics(own.bootstrap)


async def test_every_role_gives_up_what_a_frozen_kafka_does_not_answer_and_goes_on_after_it(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    bodies = [admin_payment(f"pay_{n}", "APPROVED").body for n in range(20)]
    async with (
        role("drain", database_url, kafka, tmp_path, config=IMPATIENT) as drain,
        system(database_url, kafka, tmp_path, config=IMPATIENT) as running,
    ):
        await running.post("/webhooks/admin", bodies[0])
        await running.settle()
        assert own.kafka._child is not None
        with frozen(own.kafka._child.pid):
            answers = [await running.post("/webhooks/admin", body) for body in bodies]
            for waiting in (running.processes["relay"], running.processes["projector"], drain):
                await _names_the_step(waiting)
        await running.settle()

        states = [line for line in running.log_lines().splitlines() if "projector.parked" in line]
        codes = [await running.processes[name].stop() for name in ("relay", "projector")]
        codes.append(await drain.stop())

    assert {status for status, _ in answers} == {200}
    assert states == []
    assert codes == [0, 0, 0]


async def _names_the_step(process: Process) -> None:
    async def it_did() -> bool:
        return any("role.stalled" in line and "step" in line for line in process.log.read_text().splitlines())

    await eventually(it_did, what="the role says in which step it waited", timeout_s=60)
