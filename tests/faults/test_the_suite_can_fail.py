"""A suite that cannot fail proves nothing: what somebody tampers with after a run, the verdict tells."""

from tests.faults.every.postgres import goes_on, owner
from tests.faults.fault import Fault
from tests.faults.run import Meddle, Outcome, run
from tests.faults.scene import Scene
from tests.faults.stage import Stage


def executing(statement: str) -> Meddle:
    """What a superuser does who disables the triggers."""

    async def meddle(scene: Scene) -> None:
        async with owner(scene) as connection:
            await connection.execute("set session_replication_role = replica")
            await connection.execute(statement)

    return meddle


async def outcome_after(stage: Stage, meddle: Meddle) -> Outcome:
    async with stage.wires():
        return await run(Fault(name="none", strike=goes_on), 1, stage, before_the_check=meddle)


async def test_a_delivery_that_is_deleted_is_lost(stage: Stage) -> None:
    outcome = await outcome_after(stage, executing("delete from delivery_log where position = 100"))

    assert not outcome.ok
    assert outcome.lost >= 1
    assert "receipt main-100" in outcome.failure


async def test_a_state_that_is_changed_is_wrong(stage: Stage) -> None:
    change = "update order_state set amount_cents = amount_cents + 1 where amount_cents is not null"
    outcome = await outcome_after(stage, executing(change))

    assert not outcome.ok
    assert (outcome.lost, outcome.doubled) == (0, 0)
    assert outcome.wrong > 0
    assert "wrong state" in outcome.failure


async def test_a_fault_that_does_not_come_about_fails_the_run(stage: Stage) -> None:
    async def nothing_happens(_scene: Scene) -> None:
        raise AssertionError("the fault did not happen")

    async with stage.wires():
        outcome = await run(Fault(name="none", strike=nothing_happens), 1, stage)

    assert outcome.failure.startswith("the fault did not happen")
