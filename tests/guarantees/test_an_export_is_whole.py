"""An exported folder is whole or says that it is not; it holds the live states, and nobody's name."""

import asyncio
import datetime as dt
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import duckdb
import msgspec
import orjson
import pyarrow.parquet as pq
import pytest

from projections.delivery import Delivery
from projections.facts import Fact, Reading, Unreadable
from projections.fold import interpret
from projections.providers import ADAPTERS
from projections.providers.documents import Document
from projections.timeline import Timeline
from service.errors import InvariantError, PermanentError, TransientError
from service.eventlog import reader
from service.eventlog.deliveries import append_batch
from service.export.export import Exported
from service.exported import check, pool
from service.exported import duckdb as duckdb_file
from service.exported.directory import Directory
from service.exported.fold import timelines
from service.exported.manifest import FACTS, LOG, NAME, QUARANTINE, AsOf, Layout, Manifest
from service.localstack import Stack
from service.postgres import connect
from service.simulation.notices import person
from tests.deliveries import gen_payment
from tests.exports import (
    CONFIG,
    KEY,
    LAYOUT,
    READING,
    contents,
    deliveries,
    export,
    export_until_killed,
    live_states,
    recibo,
    started,
    states_in,
    values,
)
from tests.projectors import ends, fold_up_to, projector_of
from tests.relays import drain, relay_of
from tests.roles import family, resident_mb
from tests.servers import Kafka, eventually, fresh_database

COUNT = 1_030
"""Two ranges that were joined, two that were not, and a tail."""
FIRST = 530
"""One of each."""
FULL = 500
"""Of FIRST, in full ranges."""
JOINED = 400
"""Of these, in a range that was joined."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEST_PAYER_KEY", KEY)
    path = tmp_path / "recibo.toml"
    path.write_text(CONFIG)
    return path


async def append(database_url: str, first: int = 0, last: int = COUNT) -> None:
    connection = await connect(database_url, application="writer")
    await append_batch(connection, deliveries(last)[first:])
    await connection.close()


def whole(folder: Path) -> Manifest:
    """The manifest of `folder`, which must be whole."""
    opened = Directory(str(folder))
    manifest = opened.export()
    assert list(check.faults(opened, manifest)) == []
    return manifest


async def test_its_states_and_timelines_are_the_live_ones_byte_for_byte(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    await append(database_url)
    await drain(relay_of("deliveries", database_url, kafka))
    owner = await asyncpg.connect(database_url)
    async with projector_of(database_url, kafka, reading=READING) as projector:
        await fold_up_to(projector, await ends(owner))

    await export(database_url, tmp_path / "out")

    manifest = whole(tmp_path / "out")
    assert manifest.rows()["log"] == COUNT
    live = await live_states(database_url)
    assert all(live.values())
    assert states_in(tmp_path / "out") == live
    held = {
        timeline.root: timeline.encode()
        for bucket in range(LAYOUT.buckets)
        for timeline in timelines(Directory(str(tmp_path / "out")), manifest.of(FACTS, bucket))
    }
    assert held == {row["root"]: row["document"] for row in await owner.fetch("select * from timeline")}
    assert manifest.rows()["quarantine"] == await owner.fetchval("select count(*) from quarantine")
    duckdb_file.write(Directory(str(tmp_path / "out")), tmp_path / "recibo.duckdb")
    with duckdb.connect(str(tmp_path / "recibo.duckdb"), read_only=True) as views:
        recovered = views.sql("select cart_root, order_root, amount_cents from cart_recovery").fetchall()
    rows = await owner.fetch("select cart_root, order_root, amount_cents from cart_recovery")
    assert sorted(recovered) == sorted(map(tuple, rows))
    assert recovered
    await owner.close()


async def test_a_killed_export_goes_on_and_ends_in_the_same_folder(
    database_url: str, tmp_path: Path, config: Path
) -> None:
    await append(database_url)
    await export(database_url, tmp_path / "unharmed")
    killed = tmp_path / "killed"

    for point in (
        "export.half_written@1",
        "export.file_written@3",
        "export.half_written@8",
        "export.range_written@1",
        "export.half_written@9",
        "export.range_written@1",
        # While the fourth range is joined with those before it, and after that.
        "export.half_written@9",
        "export.file_written@10",
        "export.range_written@1",
        "export.range_written@6",
        "export.half_written@4",
        "export.half_written@16",
        "export.manifest_written@1",
    ):
        await export_until_killed(database_url, killed, point, config)
        manifest = Directory(str(killed)).manifest()
        for file in manifest.files if manifest else ():
            assert Directory(str(killed)).fault(file) is None, point
    await export(database_url, killed)

    assert contents(killed) == contents(tmp_path / "unharmed")
    whole(killed)


async def test_an_export_killed_over_an_older_one_leaves_that_readable(
    database_url: str, tmp_path: Path, config: Path
) -> None:
    await append(database_url, 0, FIRST)
    await export(database_url, tmp_path / "out")
    await append(database_url, FIRST, COUNT)

    await export_until_killed(database_url, tmp_path / "out", "export.half_written@3", config)

    opened = Directory(str(tmp_path / "out"))
    manifest = opened.export()
    assert manifest.last == FIRST
    assert all(opened.fault(file) is None for file in manifest.files)
    assert pool.fold(opened, manifest).contents
    code, told = await recibo(database_url, config, "export", str(tmp_path / "out"), "--check")
    assert code == 3
    assert "is not in manifest.json" in told


async def test_exporting_again_adds_what_is_new_and_leaves_sealed_files_alone(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, 0, FIRST)
    first = (await export(database_url, tmp_path / "out")).manifest
    sealed = {file.path for file in first.of(LOG) if file.last <= FULL}
    sealed |= {file.path for file in first.of(FACTS) if file.last <= JOINED}
    before = {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in sealed}
    await append(database_url, FIRST, COUNT)

    again = await export(database_url, tmp_path / "out")

    assert again.positions == COUNT - FULL
    assert {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in sealed} == before
    await export(database_url, tmp_path / "at once")
    assert contents(tmp_path / "out") == contents(tmp_path / "at once")
    assert (await export(database_url, tmp_path / "out")).positions == 0
    whole(tmp_path / "out")


async def test_sealed_ranges_are_joined_from_their_files(database_url: str, tmp_path: Path) -> None:
    await append(database_url, 0, JOINED - LAYOUT.range_positions)
    before = (await export(database_url, tmp_path / "out")).manifest
    await append(database_url, JOINED - LAYOUT.range_positions, JOINED)

    again = await export(database_url, tmp_path / "out")

    assert again.positions == LAYOUT.range_positions
    (joined,) = again.manifest.ranges
    assert (joined.first, joined.last, joined.sealed) == (1, JOINED, True)
    assert [(file.first, file.last) for file in again.manifest.of(FACTS)] == [(1, JOINED)] * LAYOUT.buckets
    assert {file.path for file in before.of(LOG)} < {file.path for file in again.manifest.of(LOG)}
    whole(tmp_path / "out")
    await export(database_url, tmp_path / "unjoined", layout=Layout(buckets=3, range_positions=JOINED))
    assert states_in(tmp_path / "out") == states_in(tmp_path / "unjoined")


async def test_no_joined_file_outgrows_the_memory(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await append(database_url)
    await export(database_url, tmp_path / "usual")
    monkeypatch.setattr("service.exported.joining._BYTES_MAX", 1_000)
    monkeypatch.setattr("service.exported.slices._ROWS", 30)
    monkeypatch.setattr("service.exported.writing._ROWS_PER_GROUP", 10)

    manifest = (await export(database_url, tmp_path / "small")).manifest

    assert len([file for file in manifest.of(FACTS) if file.last == JOINED]) > 2 * LAYOUT.buckets
    whole(tmp_path / "small")
    assert states_in(tmp_path / "small") == states_in(tmp_path / "usual")


async def test_a_file_that_was_changed_is_not_joined(database_url: str, tmp_path: Path) -> None:
    await append(database_url, 0, 300)
    manifest = (await export(database_url, tmp_path / "out")).manifest
    victim = manifest.of(FACTS)[0].path
    data = (tmp_path / "out" / victim).read_bytes()
    (tmp_path / "out" / victim).write_bytes(data[:-1] + b"?")
    await append(database_url, 300, 400)

    with pytest.raises(InvariantError, match=f"{victim} was changed"):
        await export(database_url, tmp_path / "out")

    assert Directory(str(tmp_path / "out")).export() == manifest


async def test_what_the_code_learned_to_read_opens_its_sealed_range_again(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknowing = await _export_before_learning(database_url, tmp_path, monkeypatch)
    assert unknowing.manifest.ranges[0].quarantined > 50

    await export(database_url, tmp_path / "out")

    assert contents(tmp_path / "out") == contents(tmp_path / "knowing")


async def test_a_range_opened_again_is_folded_also_where_the_first_try_was_killed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _export_before_learning(database_url, tmp_path, monkeypatch)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as short:
        short.setattr("service.exported.pool.fold", killed)
        with pytest.raises(KeyboardInterrupt):
            await export(database_url, tmp_path / "out")
    opened = Directory(str(tmp_path / "out"))
    assert any("the states stand at" in fault for fault in check.faults(opened, opened.export()))
    await export(database_url, tmp_path / "out")

    assert contents(tmp_path / "out") == contents(tmp_path / "knowing")


async def _export_before_learning(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Exported:
    """A log exported to `knowing`, and to `out` by code that does not know Admin's words yet."""
    await append(database_url, 0, FIRST)
    await export(database_url, tmp_path / "knowing")
    with monkeypatch.context() as ignorant:
        ignorant.setattr("projections.providers.admin._STATUSES", {"order": {}, "withdrawal": {}})
        return await export(database_url, tmp_path / "out")


async def test_an_order_of_more_than_a_bigint_is_named_and_the_others_are_exported(
    database_url: str, tmp_path: Path
) -> None:
    paid = [gen_payment(f"a1000000-0000-4000-8000-00000000000{number}", 2**62) for number in (1, 2)]
    connection = await connect(database_url, application="writer")
    await append_batch(connection, [*deliveries(20), *paid])
    await connection.close()

    manifest = (await export(database_url, tmp_path / "out")).manifest

    assert [(one.root, one.reason) for one in manifest.unfolded] == [(paid[0].root, "OverflowError")]
    whole(tmp_path / "out")
    assert manifest.contents() == sorted(pool.fold(Directory(str(tmp_path / "out")), manifest).contents)


async def test_a_folder_has_one_name_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")

    assert Directory(str(tmp_path / "link")).place == Directory(str(tmp_path / "out") + "/").place


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is cut short"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "was changed"),
    ],
    ids=["missing", "cut short", "changed"],
)
async def test_a_harmed_file_is_named_by_check_and_by_a_replay(
    database_url: str, tmp_path: Path, harm: Callable[[Path], object], words: str
) -> None:
    await append(database_url, 0, 100)
    manifest = (await export(database_url, tmp_path / "out")).manifest
    opened = Directory(str(tmp_path / "out"))
    victim = manifest.of(FACTS)[0].path

    harm(tmp_path / "out" / victim)

    (fault,) = check.faults(opened, manifest)
    assert fault.startswith(f"{victim} {words}")
    with pytest.raises(InvariantError, match=f"{victim} {words}"):
        pool.fold(opened, manifest)


@pytest.mark.parametrize("table", [LOG, FACTS])
async def test_nothing_is_added_to_a_folder_that_lacks_a_file(
    database_url: str, tmp_path: Path, table: str
) -> None:
    await append(database_url, 0, 100)
    manifest = (await export(database_url, tmp_path / "out")).manifest
    victim = manifest.of(table)[0].path
    (tmp_path / "out" / victim).unlink()
    await append(database_url, 100, 200)

    with pytest.raises(InvariantError, match=f"{victim} is missing; bring the file back"):
        await export(database_url, tmp_path / "out")

    assert Directory(str(tmp_path / "out")).export() == manifest


async def test_another_logs_manifest_or_folder_is_refused(
    database_url: str, stack: Stack, tmp_path: Path
) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    await append(database_url, 0, 100)
    await export(database_url, mine)
    async with fresh_database(stack.database_url) as other_url:
        await append(other_url, 100, 200)
        await export(other_url, other)
    shutil.copy(other / NAME, mine / NAME)

    first, *others = check.faults(Directory(str(mine)), Directory(str(mine)).export())

    assert first.startswith("manifest.json is of another log than cart_state/")
    assert any("is missing" in fault for fault in others)
    with pytest.raises(InvariantError, match="holds another log"):
        await export(database_url, mine)


async def test_a_log_that_went_back_is_refused(database_url: str, tmp_path: Path) -> None:
    await append(database_url, 0, FIRST)
    await export(database_url, tmp_path / "out")
    held = Directory(str(tmp_path / "out")).export()
    last = msgspec.structs.replace(held.ranges[-1], ended_at=held.ranges[-1].ended_at + 1000)
    later = msgspec.structs.replace(held, ranges=(*held.ranges[:-1], last))
    (tmp_path / "out" / NAME).write_bytes(later.encode())

    with pytest.raises(InvariantError, match="another log, or a later state"):
        await export(database_url, tmp_path / "out")


async def test_another_payer_key_or_layout_needs_another_folder(database_url: str, tmp_path: Path) -> None:
    await append(database_url, 0, FIRST)
    await export(database_url, tmp_path / "out")

    other = msgspec.structs.replace(READING, payer_key=b"another key of the tests")
    with pytest.raises(PermanentError, match="another code or payer key"):
        await export(database_url, tmp_path / "out", reading=other)
    with pytest.raises(PermanentError, match="3 buckets"):
        await export(database_url, tmp_path / "out", layout=Layout(buckets=4, range_positions=400))
    with pytest.raises(PermanentError, match="without personal data"):
        await export(database_url, tmp_path / "out", personal_data=True)


async def test_two_exports_to_one_folder_do_not_run_at_once(database_url: str, tmp_path: Path) -> None:
    await append(database_url, 0, 10)
    other = await connect(database_url, application="export")
    place = Directory(str(tmp_path / "out")).place
    await other.execute("select pg_advisory_lock(hashtextextended('recibo export ' || $1, 0))", place)

    with pytest.raises(TransientError, match="another export"):
        await export(database_url, tmp_path / "out")

    await other.close()


async def test_what_is_not_the_exports_is_never_removed(database_url: str, tmp_path: Path) -> None:
    await append(database_url, 0, 10)
    (tmp_path / "out" / "facts").mkdir(parents=True)
    mine = [tmp_path / "out" / "notes.txt", tmp_path / "out" / "facts" / "mine.parquet"]
    for path in mine:
        path.write_text("mine")

    await export(database_url, tmp_path / "out")

    assert all(path.read_text() == "mine" for path in mine)


async def test_no_personal_datum_is_in_any_column_without_the_flag(database_url: str, tmp_path: Path) -> None:
    await append(database_url)
    bodies = b"\n".join(row.body for row in deliveries(COUNT)).decode()
    named = _named(bodies)
    assert len(named) > 300

    await export(database_url, tmp_path / "out")
    await export(database_url, tmp_path / "with", personal_data=True)

    assert {column: found for column, text in values(tmp_path / "out") if (found := _named(text))} == {}
    leaks = {column.rpartition(": ")[2] for column, text in values(tmp_path / "with") if _named(text)}
    assert leaks == {"body", "remote_ip"}


PERSONAL = re.compile(
    r"[\w.+-]+@example\.com"  # E-mails,
    r"|\w+ Exemplo"  # names, which all end so,
    r"|203\.0\.113\.77"  # the sender's address,
    r"|\d{3}\.\d{3}\.\d{3}-\d{2}"  # documents as people write them,
    r"|(?<![0-9a-fA-F])\+?\d{11,13}(?![0-9a-fA-F])"  # documents and phones, not within an id.
)
NUMBERS = {number for each in range(COUNT) for number in (person(each).document, person(each).phone)}
NUMBERS |= {number.lstrip("+") for number in NUMBERS} | {number[3:] for number in NUMBERS if number[0] == "+"}


def _named(text: str) -> set[str]:
    """What in `text` names one of the people of the made-up deliveries."""
    return {word for word in PERSONAL.findall(text) if not word.lstrip("+").isdecimal() or word in NUMBERS}


@pytest.mark.parametrize("seconds", [None, 0, 3600])
async def test_as_of_an_instant_is_the_naive_fold_of_what_was_known_and_had_happened(
    database_url: str, tmp_path: Path, seconds: int | None
) -> None:
    """`seconds` after a fact in the midst of history it is; null leaves out what had happened."""
    connection = await connect(database_url, application="writer")
    for row in deliveries(500):
        await append_batch(connection, [row])
    log = await reader.between(connection, after=0, up_to=500, rows_max=500, bytes_max=10_000_000)
    await connection.close()
    manifest = (await export(database_url, tmp_path / "out")).manifest
    opened = Directory(str(tmp_path / "out"))
    facts = [(each, told) for each in log if isinstance(told := _read(each), Fact)]
    middle = sorted(fact.occurred_at for _, fact in facts)[len(facts) // 2]
    effective_at = None if seconds is None else middle + seconds * 1_000_000_000

    for position in (1, 137, 300, 500):
        known_at = log[position - 1].recorded_at
        for instant, last in ((known_at, position), (known_at - 1_000, position - 1)):
            then = AsOf(known_at=instant, effective_at=effective_at)
            found = [
                one for bucket in range(3) for one in timelines(opened, manifest.of(FACTS, bucket), then)
            ]

            assert {one.root: one.entries for one in found} == _naive(
                [fact for each, fact in facts if each.position <= last], effective_at
            )


def _read(delivery: Delivery) -> Fact | None:
    try:
        return interpret(delivery, READING, retrying=True)
    except Unreadable:
        return None


def _naive(facts: list[Fact], effective_at: int | None) -> dict[str, tuple[Fact, ...]]:
    """Each root's facts, joined one by one."""
    joined: dict[str, Timeline] = {}
    for fact in facts:
        joined[fact.root] = joined.get(fact.root, Timeline(fact.root)).join(fact)
    happened = {
        root: tuple(fact for fact in each.entries if effective_at is None or fact.occurred_at <= effective_at)
        for root, each in joined.items()
    }
    return {root: entries for root, entries in happened.items() if entries}


async def test_what_an_adapter_fails_on_is_set_aside_and_read_once_it_is_mended(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, 0, FIRST)
    await export(database_url, tmp_path / "unharmed")
    sound = ADAPTERS["admin"]

    def failing(delivery: Delivery, document: Document, reading: Reading) -> Fact:
        if delivery.position % 3 == 0:
            raise KeyError("somebody@example.com")
        return sound.read(delivery, document, reading)

    with pytest.MonkeyPatch.context() as faulty:
        faulty.setitem(ADAPTERS, "admin", sound._replace(read=failing))
        harmed = (await export(database_url, tmp_path / "out")).manifest
        assert (await export(database_url, tmp_path / "out")).positions == 0

    reasons = {
        reason
        for file in harmed.of(QUARANTINE)
        for reason in pq.read_table(tmp_path / "out" / file.path)["reason"].to_pylist()
    }
    assert "the adapter failed: KeyError" in reasons
    assert not any("example.com" in reason for reason in reasons)
    whole(tmp_path / "out")
    await export(database_url, tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "unharmed")


@pytest.mark.parametrize("after_s", [0.0, 0.1, 0.2])
async def test_an_export_that_is_killed_while_several_fold_leaves_nobody_behind(
    database_url: str, tmp_path: Path, config: Path, after_s: float
) -> None:
    await append(database_url)
    await export(database_url, tmp_path / "unharmed")
    words = ("export", str(tmp_path / "out"), "--processes=2", "--buckets=3", "--range-positions=100")
    process = await started(database_url, config, *words)

    async def several_fold() -> bool:
        # Itself, two that fold, and the one that keeps track of what these share.
        return len(family(process.pid)) == 4

    async def nobody_is_left() -> bool:
        return not any(map(resident_mb, workers))

    await eventually(several_fold, what="several fold")
    await asyncio.sleep(after_s)
    workers = family(process.pid)[1:]
    with suppress(ProcessLookupError):
        process.kill()
    await process.communicate()
    await eventually(nobody_is_left, what="nobody is left")

    code, told = await recibo(database_url, config, *words)
    assert code == 0, told
    whole(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "unharmed")


@pytest.mark.parametrize(
    ("option", "instant", "said"),
    [
        ("--known-at", "2200-01-01", "is in the future"),
        ("--effective-at", "2200-01-01", "is in the future"),
        ("--known-at", "2001-01-01", "is before the log: its first delivery is of"),
        ("--known-at", "a moment ago", "ends with what was received at"),
        ("--known-at", "last week", "is no instant"),
    ],
)
async def test_a_folder_cannot_tell_of_an_instant_that_it_does_not_hold(
    database_url: str, tmp_path: Path, config: Path, *, option: str, instant: str, said: str
) -> None:
    await append(database_url, 0, 100)
    out, into = tmp_path / "out", tmp_path / "states"
    await export(database_url, out)
    if instant == "a moment ago":
        instant = dt.datetime.now(dt.UTC).isoformat()

    code, told = await recibo(
        database_url, config, "replay", "parquet", str(out), option, instant, "--into", str(into)
    )

    assert (code, said in told) == (5, True), told
    assert told.strip().count("\n") == 0
    assert not into.exists()


async def test_the_commands_export_check_and_replay(database_url: str, tmp_path: Path, config: Path) -> None:
    await append(database_url)
    out, again, views = (str(tmp_path / name) for name in ("out", "states", "recibo.duckdb"))

    code, told = await recibo(
        database_url, config, "export", out, "--buckets", "3", "--range-positions", "100",
        "--processes", "2", "--duckdb", views, "--json",
    )  # fmt: skip
    assert code == 0, told
    summary = orjson.loads(told)
    assert (summary["last_position"], summary["exported_now"]) == (COUNT, COUNT)
    await export(database_url, tmp_path / "at once")
    assert contents(tmp_path / "out") == contents(tmp_path / "at once")
    with duckdb.connect(views, read_only=True) as connection:
        assert connection.sql("select count(*) from log").fetchall() == [(COUNT,)]

    code, told = await recibo(database_url, config, "export", out, "--check")
    assert (code, "is whole: positions 1 to 1030" in told) == (0, True), told

    code, told = await recibo(
        database_url, config, "replay", "parquet", out, "--processes", "2", "--into", again
    )
    assert code == 0, told
    assert orjson.loads(told)["equal"] is True
    assert states_in(tmp_path / "states") == states_in(tmp_path / "out")
    whole(tmp_path / "states")

    code, told = await recibo(database_url, config, "replay", "parquet", again, "--into", again)
    assert (code, "holds no facts, only states" in told) == (5, True), told
    code, told = await recibo(database_url, config, "export", again)
    assert (code, "holds states that a replay wrote" in told) == (5, True), told
    whole(tmp_path / "states")
