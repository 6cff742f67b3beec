"""What was known at one instant of what had happened by another: the DuckDB file says it as the fold does.

Above all where a repeat dates a fact better: until that was received the fact had its former date.
"""

import asyncio
import datetime as dt
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import duckdb
import orjson
import pytest

from service.exported import duckdb as duckdb_file
from service.exported.directory import Directory
from service.exported.fold import buckets_of, timelines
from service.exported.manifest import FACTS, NOW, AsOf
from service.simulation.mixing import Delivery
from tests.bodies import document, ns
from tests.exports import export_made_up, stream

COUNT = 1_000
POSITIONS = (1, 57, 200, 400, 633, 850, COUNT)
OBJECT_DATES = ("inserted_at", "updated_at", "insertedAt", "updatedAt")

Entries = set[tuple[str, str, int]]
"""Root, identity, when it occurred."""


class Asked:
    """An exported folder, and the same questions to its DuckDB file and to the fold."""

    def __init__(self, folder: Path, deliveries: list[Delivery]) -> None:
        self._folder = Directory(str(folder / "export"))
        asyncio.run(export_made_up(len(deliveries), folder / "export", told=iter(deliveries)))
        duckdb_file.write(self._folder, folder / "recibo.duckdb")
        self.views = duckdb.connect(str(folder / "recibo.duckdb"), read_only=True)

    def recorded_at(self, position: int) -> int:
        """When the log had the row, nanoseconds since the epoch."""
        ((microseconds,),) = self.views.execute(
            "select epoch_us(recorded_at) from log where position = ?", [position]
        ).fetchall()
        return int(microseconds) * 1000

    def viewed(self, as_of: AsOf) -> Entries:
        """What the macro gives."""
        assert as_of.known_at is not None
        rows = self.views.execute(
            "select root, identity, occurred_ns from history_known_at(make_timestamptz($known_at))"
            " where $effective_at is null or occurred_ns <= $effective_at::bigint",
            {"known_at": as_of.known_at // 1000, "effective_at": as_of.effective_at},
        ).fetchall()
        assert len(rows) == len(set(rows))
        return set(rows)

    def folded(self, as_of: AsOf) -> Entries:
        """What the timelines hold."""
        manifest = self._folder.export()
        return {
            (timeline.root, fact.identity, fact.occurred_at)
            for bucket in buckets_of(manifest)
            for timeline in timelines(self._folder, manifest.of(FACTS, bucket), as_of)
            for fact in timeline.entries
        }


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    asked = Asked(tmp_path_factory.mktemp("made up"), list(islice(_dated_by_envelopes(), COUNT)))
    yield asked
    asked.views.close()


@pytest.mark.parametrize("before", [0, 1], ids=["at a row's instant", "a microsecond before"])
@pytest.mark.parametrize("position", POSITIONS)
def test_what_was_known_at_an_instant_is_what_the_fold_knew(
    made_up: Asked, position: int, before: int
) -> None:
    known_at = made_up.recorded_at(position) - before * 1000

    folded = made_up.folded(AsOf(known_at=known_at))

    assert made_up.viewed(AsOf(known_at=known_at)) == folded
    instants = sorted(occurred_at for _, _, occurred_at in folded)
    for instant in instants[len(instants) // 2 :: len(instants) // 4 + 1]:
        for effective_at in (instant - 1, instant):
            both = AsOf(known_at=known_at, effective_at=effective_at)
            assert made_up.viewed(both) == made_up.folded(both)


def test_the_boundary_and_the_better_dates_are_asked_for(made_up: Asked) -> None:
    first = made_up.recorded_at(1)
    assert made_up.folded(AsOf(known_at=first - 1000)) == set()
    assert len(made_up.folded(AsOf(known_at=first))) == 1

    once = made_up.folded(AsOf(known_at=made_up.recorded_at(400)))
    today = {(root, identity): occurred_at for root, identity, occurred_at in made_up.folded(NOW)}
    assert len([entry for entry in once if today[entry[:2]] != entry[2]]) > 10


def test_the_history_is_what_is_known_today(made_up: Asked) -> None:
    rows = made_up.views.execute("select root, identity, occurred_ns from history").fetchall()

    assert len(rows) == len(set(rows))
    assert set(rows) == made_up.folded(NOW)


def test_a_better_date_does_not_count_before_it_was_received(tmp_path: Path) -> None:
    dates = ("2025-11-05T10:00:00Z", "2025-11-03T10:00:00Z")
    received = (ns("2025-11-05T10:00:00.123456Z"), ns("2025-11-07T10:00:00.654321Z"))
    asked = Asked(
        tmp_path,
        [
            Delivery("gen", _gen(date), None, instant, "none")
            for date, instant in zip(dates, received, strict=True)
        ],
    )
    first, second = asked.recorded_at(1), asked.recorded_at(2)

    def known(instant: int) -> list[tuple[object, ...]]:
        return asked.views.execute(
            "select occurred_at, epoch_us(known_at), position from history_known_at(make_timestamptz(?))",
            [instant // 1000],
        ).fetchall()

    assert known(first - 1000) == []
    assert known(first) == [(dt.datetime.fromisoformat(dates[0]), first // 1000, 1)]
    assert known(second - 1000) == known(first)
    assert known(second) == [(dt.datetime.fromisoformat(dates[1]), first // 1000, 2)]
    assert first // 1000 % 1_000_000 == 123_456
    asked.views.close()


def _gen(date: str) -> bytes:
    """An order that only its envelope dates."""
    sent = document("gen", "order_created", occurred_at=date)
    sent["data"] = _undated(sent["data"])
    return orjson.dumps(sent)


def _undated(thing: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in thing.items() if name not in OBJECT_DATES}


def _dated_by_envelopes() -> Iterator[Delivery]:
    """The stream, but Gen's objects have no dates and are sent again; envelopes have one, another or none."""
    rng = Random(1)
    sent: list[Delivery] = []
    for delivery in stream():
        if delivery.source != "gen" or delivery.mutation == "unknown":
            yield delivery
            continue
        sent.append(delivery)
        yield _dated_by_envelope(rng, delivery)
        if rng.random() < 0.5:
            yield _dated_by_envelope(rng, rng.choice(sent))


def _dated_by_envelope(rng: Random, delivery: Delivery) -> Delivery:
    body = orjson.loads(delivery.body)
    body["data"] = _undated(body["data"])
    if rng.random() < 0.8:
        happened = dt.datetime.fromtimestamp(delivery.instant // 1_000_000_000, dt.UTC)
        body["occurred_at"] = (happened - dt.timedelta(hours=rng.randrange(-48, 48))).isoformat()
    return delivery._replace(body=orjson.dumps(body))


def test_nanoseconds_are_cut_and_not_rounded_into_the_next_day(tmp_path: Path) -> None:
    sent = document("barte", "order_paid", dateTime="2025-11-03T23:59:59.999999999")
    place = tmp_path / "a folder [1] of 'mine'*"
    asked = Asked(place, [Delivery("barte", orjson.dumps(sent), None, ns("2025-11-05T10:00:00Z"), "none")])

    cut = dt.datetime.fromisoformat("2025-11-04T02:59:59.999999Z")
    assert asked.views.sql("select occurred_at, occurred_ns % 1000 from history").fetchall() == [(cut, 999)]
    assert asked.views.sql("select distinct began_at from order_history").fetchall() == [(cut,)]
    asked.views.close()
