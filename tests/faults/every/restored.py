"""An older Postgres behind a newer Kafka: relay and projector must refuse, and say why and what to do.

The older one is a copy of the data folder, taken while the server was down and put back later. Nobody posts
to it: what is appended to the wrong database no code can keep. In the end the true one is put back, and all
must be as if nothing had been.
"""

import asyncio
import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from service.eventlog import head
from service.eventlog.deliveries import append_batch
from service.eventlog.events import NewEvent, append_events
from service.postgres import connect
from service.runtime import EXIT_HALTED
from tests.deliveries import new_delivery
from tests.faults.every.postgres import owner
from tests.faults.fault import Fault
from tests.faults.scene import Scene

_WHO_REFUSE: Final = ("relay", "projector")
_WHAT_TO_DO: Final = "Point RECIBO_DATABASE_URL at the database that published"


def restored(name: str, *, grown: bool) -> Fault:
    """The fault; `grown`: past the checkpoint again, so that the positions exist and hold other rows."""

    async def strike(scene: Scene) -> None:
        data, older, newer = (_data(scene).with_name(name) for name in ("postgres", "older", "newer"))
        await _copied(scene, data, older)
        await scene.load.answered(600)
        ends = await _quiet(scene)
        if grown:
            for kind in _WHO_REFUSE:
                await scene.roles[kind].hold()
        await asyncio.to_thread(scene.servers.postgres.stop)
        data.rename(newer)
        older.rename(data)
        try:
            await scene.servers.give_back_postgres()
            if grown:
                await _grow(scene, ends)
                for kind in _WHO_REFUSE:
                    await scene.roles[kind].start()
            await _refused(scene, "has another row there" if grown else "has no such row")
        finally:
            await asyncio.to_thread(scene.servers.postgres.stop)
            shutil.rmtree(data)
            newer.rename(data)
            await scene.servers.give_back_postgres()
        for role in scene.roles.values():
            await role.start()
            await role.healthy()
        await scene.load.begin()

    return Fault(name=f"restored.{name}", strike=strike)


def _data(scene: Scene) -> Path:
    return scene.servers.postgres._data


async def _copied(scene: Scene, data: Path, older: Path) -> None:
    await asyncio.to_thread(scene.servers.postgres.stop)
    copying = await asyncio.create_subprocess_exec("cp", "--archive", str(data), str(older))
    assert await copying.wait() == 0
    await scene.servers.give_back_postgres()


async def _quiet(scene: Scene) -> Mapping[str, int]:
    """Everything is told, and nobody posts; where the logs end."""
    await scene.load.end()
    await scene.roles["ingress"].stop()
    await scene.settled()
    await scene.roles["drain"].stop()
    async with owner(scene) as connection:
        return {log: await head.position(connection, log) for log in ("deliveries", "events")}


async def _grow(scene: Scene, past: Mapping[str, int]) -> None:
    """Append other rows to both logs, until they are longer than the true ones."""
    connection = await connect(scene.database_url, application="another")
    for number in itertools.count():
        if all([await head.position(connection, log) > past[log] for log in past]):
            break
        await append_batch(connection, [new_delivery(b"%d %d" % (number, n)) for n in range(100)])
        await append_events(connection, [_event(f"{number} {n}") for n in range(200)])
    connection.terminate()


def _event(name: str) -> NewEvent:
    return NewEvent(
        topic="orders", key=name, partition_key=name, event_id=name, headers='{"ce_id": "x"}', value=b"{}"
    )


async def _refused(scene: Scene, why: str) -> None:
    """Relay and projector stay down, each of its own accord and saying why."""
    for kind in _WHO_REFUSE:
        role = scene.roles[kind]
        await role.died(EXIT_HALTED)
        assert role.has_said(why), f"{kind} does not say why: {role.last_words()}"
        assert role.has_said(_WHAT_TO_DO), f"{kind} does not say what to do: {role.last_words()}"


RESTORED: Final = (
    restored("older", grown=False),
    restored("older_and_grown_again", grown=True),
)
