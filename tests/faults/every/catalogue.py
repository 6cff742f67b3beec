"""All faults, the most telling first, and the pairs that a seed makes of them."""

from collections.abc import Sequence
from random import Random
from typing import Final

from tests.faults.every.crashes import CRASHES
from tests.faults.every.database import DATABASE
from tests.faults.every.kafka import KAFKA
from tests.faults.every.others import OTHERS
from tests.faults.every.postgres import POSTGRES
from tests.faults.every.replay import REPLAY
from tests.faults.every.replay_frozen import REPLAY_FROZEN
from tests.faults.every.restarts import RESTARTS
from tests.faults.every.restored import RESTORED
from tests.faults.every.roots import ROOTS
from tests.faults.every.topics import TOPICS
from tests.faults.every.wires import WIRES
from tests.faults.fault import Fault, both

_KILLS: Final = tuple(fault for fault in CRASHES if fault.name.endswith(":kill"))
_OTHER_CRASHES: Final = tuple(fault for fault in CRASHES if fault not in _KILLS)

SINGLE: Final = (
    *RESTORED,
    *_KILLS,
    *ROOTS,
    *WIRES,
    *POSTGRES,
    *DATABASE,
    *KAFKA,
    *TOPICS,
    *RESTARTS,
    *OTHERS,
    *REPLAY,
    *REPLAY_FROZEN,
    *_OTHER_CRASHES,
)

_PAIRS: Final = 5
_AT_ONCE: Final = (
    "postgres.immediate_restart",
    "postgres.lock_waits",
    "kafka.killed_and_restarted",
    "kafka.stopped",
    "wire.relay_kafka.cut_after.EndTxn",
    "wire.projector_postgres.cut_after.COMMIT",
)
"""What goes with a role that dies: it takes nothing from under the crash point for good."""


def faults(seed: int) -> Sequence[Fault]:
    """Every fault, and a few of two at once."""
    pairs = (pair(number, seed) for number in range(1, _PAIRS + 1))
    return (*SINGLE[: -len(_OTHER_CRASHES)], *pairs, *_OTHER_CRASHES)


def pair(number: int, seed: int) -> Fault:
    """A crash beside a fault of a server or a wire."""
    random = Random(f"pair {number} {seed}")
    by_name = {fault.name: fault for fault in SINGLE}
    crashes = [
        fault
        for fault in CRASHES
        if fault.name.startswith(("ingress.appended", "relay", "projector")) and "stop" not in fault.name
    ]
    return both(f"pair.{number}", random.choice(crashes), by_name[random.choice(_AT_ONCE)])
