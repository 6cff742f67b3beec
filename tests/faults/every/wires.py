"""What a network does between the relay and Kafka, and between the projector and Postgres."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Literal

from tests.faults.fault import Fault
from tests.faults.scene import Scene
from tests.faults.wire import Wire

_TIMES: Final = 3


@asynccontextmanager
async def relay_to_kafka(scene: Scene) -> AsyncIterator[None]:
    """The relay reaches Kafka through the wire."""
    scene.environments["relay"]["RECIBO_KAFKA_BOOTSTRAP"] = scene.stage.wired_bootstrap
    yield


@asynccontextmanager
async def projector_to_postgres(scene: Scene) -> AsyncIterator[None]:
    """The projector reaches Postgres through the wire."""
    scene.environments["projector"]["RECIBO_DATABASE_URL"] = scene.stage.wired(scene.database_url)
    yield


def _kafka(scene: Scene) -> Wire:
    return scene.stage.kafka_wire


def _postgres(scene: Scene) -> Wire:
    return scene.stage.postgres_wire


_ENDS: Final = {
    "relay_kafka": (_kafka, relay_to_kafka),
    "projector_postgres": (_postgres, projector_to_postgres),
}


def _wired(ends: str, name: str, deed: Callable[[Scene, Wire], Awaitable[None]]) -> Fault:
    wire, setting = _ENDS[ends]

    async def strike(scene: Scene) -> None:
        await deed(scene, wire(scene))

    return Fault(name=f"wire.{ends}.{name}", strike=strike, setting=setting)


async def delayed(scene: Scene, wire: Wire) -> None:
    """Everything takes 100 ms longer, each way."""
    with wire.delaying(0.1):
        await scene.lasting(15)


async def silent(scene: Scene, wire: Wire) -> None:
    """Nothing arrives for 15 s, then all of it."""
    with wire.silent():
        await scene.lasting(15)


async def forgotten(scene: Scene, wire: Wire) -> None:
    """Nothing arrives any more on the connections that there are, and nobody is told that they are dead."""
    role = scene.roles["relay" if wire is scene.stage.kafka_wire else "projector"]
    with wire.silent(forgets=True):
        await scene.lasting(5)
    await role.said("store.away")


async def refused(scene: Scene, wire: Wire) -> None:
    """Every connection is reset, and none is taken for 15 s."""
    with wire.refusing():
        await scene.lasting(15)


def _cut(request: str, when: Literal["before", "after"]) -> Callable[[Scene, Wire], Awaitable[None]]:
    async def cut(_scene: Scene, wire: Wire) -> None:
        await wire.cut(request, when=when, times=_TIMES)

    return cut


def _all() -> tuple[Fault, ...]:
    cuts = [
        ("relay_kafka", "EndTxn"),
        ("relay_kafka", "Produce"),
        ("relay_kafka", "AddPartitionsToTxn"),
        ("projector_postgres", "COMMIT"),
    ]
    return (
        *(_wired(ends, f"cut_after.{request}", _cut(request, "after")) for ends, request in cuts),
        *(_wired(ends, f"cut_before.{request}", _cut(request, "before")) for ends, request in cuts),
        *(
            _wired(ends, deed.__name__, deed)
            for ends in _ENDS
            for deed in (silent, refused, delayed, forgotten)
        ),
    )


WIRES: Final = _all()
