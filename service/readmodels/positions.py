"""How far each partition is folded: a row per partition, compared and moved with the states.

The log position decides; the Kafka offset only says where to look next. Whoever folds a partition
locks its row first and compares it with what it believes: a zombie, whose partitions went to
another process, loses the comparison and writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from projections.delivery import PARTITIONS
from service.errors import InvariantError, TransientError
from service.postgres import Connection, statement

_SQL: Final = Path(__file__).parent

ALL: Final = range(PARTITIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far one partition is folded."""

    position: int
    """Every row of the partition up to this log position is folded, quarantined or parked."""
    kafka_offset: int
    """The next offset to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Every position row of a log, locked."""

    places: Mapping[int, int]
    """Partition → log position up to which it is folded; without those that have no row."""
    fold_versions: frozenset[str]


class OutrunError(TransientError):
    """Another process has moved the partition on: read the places again and seek."""


class Positions:
    """The position rows of one log, for a fold of one version."""

    def __init__(self, *, log: str, fold_version: str) -> None:
        self._log = log
        self._fold_version = fold_version

    async def places(self, connection: Connection, partitions: Sequence[int]) -> dict[int, Place]:
        """Where the partitions stand; those never folded stand at the start.

        Raises InvariantError if their states were folded by another version of the fold.
        """
        await connection.execute(
            statement(_SQL, "ensure_positions"), self._log, partitions, self._fold_version
        )
        rows = await connection.fetch(statement(_SQL, "read_positions"), self._log, partitions)
        self._compare_version({row["fold_version"] for row in rows})
        return {
            row["partition"]: Place(position=row["position"], kafka_offset=row["kafka_offset"])
            for row in rows
        }

    async def lock(self, connection: Connection, expected: Mapping[int, Place | None]) -> int:
        """Lock the rows of `expected` until the caller commits; the generation of their states.

        A partition whose expected place is null is locked wherever it stands. Raises OutrunError if
        one has moved, InvariantError if another version of the fold owns the states.
        """
        rows = await connection.fetch(statement(_SQL, "lock_positions"), self._log, list(expected))
        self._compare_version({row["fold_version"] for row in rows})
        for row in rows:
            place = expected[row["partition"]]
            if place is not None and place.position != row["position"]:
                raise OutrunError(f"partition {row['partition']} has moved to {row['position']}")
        if len(rows) != len(expected):
            raise OutrunError("a partition has no position row any more")
        generation: int = rows[0]["generation"]
        return generation

    async def vector(self, connection: Connection) -> dict[int, int]:
        """How far each partition is folded, by whatever version; without those that never were."""
        rows = await connection.fetch(statement(_SQL, "read_positions"), self._log, ALL)
        return {row["partition"]: row["position"] for row in rows}

    async def hold(self, connection: Connection) -> "Held":
        """Lock every partition's row until the caller commits, wherever it stands, whoever folded it."""
        rows = await connection.fetch(statement(_SQL, "lock_positions"), self._log, ALL)
        return Held(
            places={row["partition"]: row["position"] for row in rows},
            fold_versions=frozenset(row["fold_version"] for row in rows),
        )

    async def place(self, connection: Connection, vector: Mapping[int, int]) -> None:
        """Make the rows of partitions that have none, at the positions of `vector`."""
        await connection.execute(
            statement(_SQL, "place_positions"),
            self._log,
            list(vector),
            list(vector.values()),
            self._fold_version,
        )

    async def take_over(self, connection: Connection, generation: int) -> None:
        """Give the states of all partitions, whose rows are held, to `generation` and this fold version."""
        await connection.execute(
            statement(_SQL, "take_over_positions"), self._log, generation, self._fold_version
        )

    async def advance(self, connection: Connection, places: Mapping[int, Place]) -> None:
        """Move the locked rows to `places`, in the transaction that writes what was folded."""
        await connection.execute(
            statement(_SQL, "advance_positions"),
            self._log,
            list(places),
            [place.position for place in places.values()],
            [place.kafka_offset for place in places.values()],
        )

    def _compare_version(self, found: set[str]) -> None:
        others = found - {self._fold_version}
        if others:
            raise InvariantError(
                f"the stored states were folded by version {', '.join(sorted(others))}, this code folds "
                f"by {self._fold_version}: rebuild, then swap (`recibo replay rebuild --swap`), or go "
                "back to the code and settings ([fold] in recibo.toml) that folded them"
            )
