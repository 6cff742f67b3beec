"""A choice of the fault suite for every `make test`; the whole of it is `make faults`."""

import pytest

from tests.faults.every.catalogue import SINGLE
from tests.faults.run import SHORT, run
from tests.faults.stage import Stage

SEED = 1
CHOICE = (
    "relay.checkpointed/deliveries:kill",
    "relay.sent/events:stop",
    "ingress.spilled:kill",
    "drain.committed:raise",
    "wire.relay_kafka.cut_after.EndTxn",
    "wire.projector_postgres.cut_after.COMMIT",
    "postgres.immediate_restart",
    "kafka.records_expired_unread",
    "restored.older_and_grown_again",
    "replay.swap",
)


@pytest.mark.parametrize("name", CHOICE)
async def test_a_fault_costs_nothing(stage: Stage, name: str) -> None:
    (fault,) = (fault for fault in SINGLE if fault.name == name)

    async with stage.wires():
        outcome = await run(fault, SEED, stage, brevity=SHORT)

    assert outcome.ok, outcome.failure
    assert outcome.acknowledged > 0
