"""Promise 2: with one of Postgres and Kafka away no delivery is refused, and every receipt reaches the log.

With real processes, on servers that these tests kill, freeze and start again.
"""

import asyncio
import itertools
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiokafka import TopicPartition

from projections.delivery import PARTITIONS
from service.errors import OutcomeUnknownError, TransientError
from service.eventlog.deliveries import NewDelivery, append_batch
from service.kafka import topics
from service.kafka.consumer import reader
from service.postgres import connect
from service.spill import writer
from service.spill.writer import SpillWriter
from tests.deliveries import new_delivery
from tests.outages import Answer, Servers, assert_kept, frozen, health, lines, load, servers
from tests.poison import EVERY_ROW, HEAD_BEHIND
from tests.roles import Process, resident_mb, role
from tests.servers import Kafka, eventually, fresh_prefix, fresh_topics, new_database

SWITCHED_WITHIN_S = 2.0
ROUNDS = 5
GROWN_MB_MAX = 8
"""Of the median round: the allocator's steps come in one or two, what is held comes in each, 100 MB."""

Fault = Callable[[Servers, str], AbstractAsyncContextManager[None]]


@pytest.fixture(scope="module")
def own(run_folder: Path) -> Iterator[Servers]:
    """Servers that these tests may take away."""
    folder = run_folder / "outages"
    folder.mkdir(parents=True)
    with servers(folder) as both:
        yield both


@pytest.fixture
async def database_url(own: Servers) -> str:
    await own.give_back_postgres()
    return await new_database(own.database_url)


@pytest.fixture
async def kafka(own: Servers) -> Kafka:
    await own.give_back_kafka()
    kafka = await fresh_topics(own.bootstrap)
    await warm(kafka)
    return kafka


@asynccontextmanager
async def killed(own: Servers, _database_url: str) -> AsyncIterator[None]:
    await asyncio.to_thread(own.postgres.kill)
    yield
    await own.give_back_postgres()


@asynccontextmanager
async def frozen_solid(own: Servers, _database_url: str) -> AsyncIterator[None]:
    assert own.postgres._child is not None
    with frozen(own.postgres._child.pid):
        yield


@asynccontextmanager
async def read_only(own: Servers, _database_url: str) -> AsyncIterator[None]:
    owner = await asyncpg.connect(own.database_url)
    await owner.execute("alter system set default_transaction_read_only = on")
    await owner.execute("select pg_reload_conf()")
    yield
    await owner.execute("set default_transaction_read_only = off")
    await owner.execute("alter system reset default_transaction_read_only")
    await owner.execute("select pg_reload_conf()")
    await owner.close()


@asynccontextmanager
async def behind_a_lock(_own: Servers, database_url: str) -> AsyncIterator[None]:
    owner = await asyncpg.connect(database_url)
    async with owner.transaction():
        await owner.execute("select * from log_head where log = 'deliveries' for update")
        yield
    await owner.close()


@pytest.mark.parametrize("fault", [killed, frozen_solid, read_only, behind_a_lock], ids=lambda f: f.__name__)
async def test_a_log_that_takes_no_append_costs_no_delivery(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path, fault: Fault
) -> None:
    clock = asyncio.get_running_loop().time
    async with role("drain", database_url, kafka, tmp_path):
        async with role("ingress", database_url, kafka, tmp_path) as ingress, load(ingress.port) as ledger:
            await ledger.answered(in_log, count=200)
            began = clock()
            async with fault(own, database_url):
                spilled = await ledger.answered(in_spill, count=1)
                await ledger.answered(in_spill, count=300)
                ended = clock()
            given_back = clock()
            again = await ledger.answered(in_log, count=1)
            await ledger.answered(in_log, count=200)
        await drained(database_url, kafka)

    print(  # noqa: T201  # The figures, for whoever runs it with -s.
        f"{fault.__name__}: over in {spilled.at - began:.2f} s, back {again.at - given_back:.2f} s after the "
        f"fault ended (which took {given_back - ended:.2f} s), {ledger.statuses()}, "
        f"{ledger.receipts('spill-')} spilled"
    )
    assert ledger.statuses().keys() == {200}
    await assert_kept(database_url, ledger, ingress)
    assert spilled.at - began < SWITCHED_WITHIN_S
    assert again.at - given_back < SWITCHED_WITHIN_S
    assert len(lines(ingress, "ingress.log_away")) == len(lines(ingress, "ingress.log_back")) == 1


async def test_with_kafka_down_ingest_goes_on_and_the_spill_is_ready_once_it_is_back(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    await asyncio.to_thread(own.kafka.kill)

    async with role("ingress", database_url, kafka, tmp_path) as ingress, load(ingress.port) as ledger:
        await ledger.answered(in_log, count=500)
        await own.give_back_kafka()
        await warm(kafka)
        await eventually(lambda: reports(ingress, spill="ok"), what="the spill is ready")
        async with killed(own, database_url):
            await ledger.answered(in_spill, count=100)
        await ledger.answered(in_log, count=100)

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    assert ledger.statuses().keys() == {200}
    await assert_kept(database_url, ledger, ingress)


async def test_with_both_down_senders_are_told_at_once_and_either_one_back_suffices(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    async with role("ingress", database_url, kafka, tmp_path) as ingress, load(ingress.port) as ledger:
        await ledger.answered(in_log, count=100)
        await asyncio.to_thread(own.kafka.kill)
        async with killed(own, database_url):
            await ledger.answered(refused, count=100)
            known = len(ledger.answers)
            await ledger.answered(refused, count=300)
            slowest = max(answer.took_s for answer in ledger.answers[known:])
            await own.give_back_kafka()
            await ledger.answered(in_spill, count=100)
        await ledger.answered(in_log, count=100)

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    print(f"both down: {ledger.statuses()}, a refusal took at most {slowest:.3f} s")  # noqa: T201
    await assert_kept(database_url, ledger, ingress)
    assert slowest < 0.5


@asynccontextmanager
async def kafka_killed(own: Servers) -> AsyncIterator[None]:
    await asyncio.to_thread(own.kafka.kill)
    yield
    await own.give_back_kafka()


@asynccontextmanager
async def kafka_frozen(own: Servers) -> AsyncIterator[None]:
    assert own.kafka._child is not None
    with frozen(own.kafka._child.pid):
        yield


@pytest.mark.parametrize("fault", [kafka_killed, kafka_frozen], ids=lambda f: f.__name__)
async def test_a_kafka_that_goes_away_under_a_healthy_log_is_known_before_it_is_needed(
    own: Servers,
    database_url: str,
    kafka: Kafka,
    tmp_path: Path,
    fault: Callable[[Servers], AbstractAsyncContextManager[None]],
) -> None:
    async with role("ingress", database_url, kafka, tmp_path) as ingress, load(ingress.port) as ledger:
        await ledger.answered(in_log, count=100)
        await eventually(lambda: reports(ingress, spill="ok"), what="the spill is ready")
        async with fault(own):
            await eventually(lambda: reports(ingress, spill="away"), what="it is known", timeout_s=8)
            await ledger.answered(in_log, count=100)
            async with killed(own, database_url):
                await ledger.answered(refused, count=300)
            await ledger.answered(in_log, count=100)
        # A broker that has just started leads its partitions a moment later.
        await warm(kafka)
        await eventually(lambda: reports(ingress, spill="ok"), what="the spill is back", timeout_s=60)
        await ledger.answered(in_log, count=100)
        async with killed(own, database_url):
            await ledger.answered(in_spill, count=100)
        await ledger.answered(in_log, count=100)

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    slowest = max(answer.took_s for answer in ledger.answers if refused(answer))
    doubts = [line for line in lines(ingress, "ingress.outcome_unknown") if line["store"] == "spill"]
    told = [line["event"] for line in lines(ingress, "store.away", "store.back") if line["role"] == "spill"]
    print(f"{fault.__name__}: {ledger.statuses()}, a refusal took at most {slowest:.3f} s")  # noqa: T201
    await assert_kept(database_url, ledger, ingress)
    assert slowest < 2.0
    assert doubts == []
    assert told[:2] == ["store.away", "store.back"]
    assert all(one != next_ for one, next_ in itertools.pairwise(told)), "told at each try"


async def test_a_batch_that_a_dying_kafka_leaves_in_doubt_is_there_once_whatever_the_heartbeat_says(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One is under way at any moment, so one is when Kafka freezes.
    monkeypatch.setattr(writer, "_HEARTBEAT_S", 0.001)
    beating = SpillWriter(bootstrap=kafka.bootstrap, prefix=kafka.prefix, log="main")
    stopping = asyncio.Event()
    running = asyncio.create_task(beating.run(stopping))
    await beating.tried.wait()
    await beating.write([new_delivery(b"before")])
    assert own.kafka._child is not None
    pid = own.kafka._child.pid

    with frozen(pid):
        await eventually(lambda: stands_still(pid), what="no thread of Kafka's runs any more")
        with pytest.raises(OutcomeUnknownError):
            await beating.write([new_delivery(b"in doubt")])
        with pytest.raises(TransientError, match="Kafka is away"):
            await beating.write([new_delivery(b"refused")])

    async def is_back() -> bool:
        return not beating.away

    await eventually(is_back, what="the spill is back")
    await beating.write([new_delivery(b"after")])
    stopping.set()
    await running
    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    assert await bodies(database_url) == [b"after", b"before", b"in doubt"]


async def test_with_both_down_large_deliveries_are_refused_without_being_held(tmp_path: Path) -> None:
    nowhere = Kafka(bootstrap="127.0.0.1:1", prefix=fresh_prefix())
    async with role("ingress", "postgresql://recibo@127.0.0.1:1/recibo", nowhere, tmp_path) as ingress:
        told = await large_ones(ingress, 200)
        resident = [resident_mb(ingress.process.pid)]
        for _ in range(ROUNDS):
            told += await large_ones(ingress, 100)
            resident.append(resident_mb(ingress.process.pid))

    assert set(told) == {(503, True)}
    grown = [after - before for before, after in itertools.pairwise(resident)]
    assert statistics.median(grown) < GROWN_MB_MAX, f"{grown} MB more after each 100 MB of deliveries"


async def test_a_start_with_postgres_down_takes_deliveries_and_comes_back_to_the_log(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    async with killed(own, database_url):
        ingress_role = role("ingress", database_url, kafka, tmp_path)
        ingress = await ingress_role.__aenter__()
        load_ = load(ingress.port)
        ledger = await load_.__aenter__()
        await ledger.answered(in_spill, count=100)
    await ledger.answered(in_log, count=100)
    await load_.__aexit__(None, None, None)
    await ingress_role.__aexit__(None, None, None)

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    assert ledger.statuses().keys() == {200}
    await assert_kept(database_url, ledger, ingress)


async def test_sigterm_while_the_log_is_away_answers_what_was_accepted(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    async with (
        killed(own, database_url),
        role("ingress", database_url, kafka, tmp_path) as ingress,
        load(ingress.port) as ledger,
    ):
        await ledger.answered(in_spill, count=100)
        code = await ingress.stop()

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    assert code == 0
    assert ledger.statuses().keys() == {200}
    assert len(await bodies(database_url)) == len(ledger.answers)
    await assert_kept(database_url, ledger, ingress)


@pytest.mark.parametrize("deed", ["kill", "raise"])
@pytest.mark.parametrize("point", ["drain.appended@2", "drain.committed@2"])
async def test_a_drain_that_fails_there_neither_loses_nor_doubles(
    database_url: str, kafka: Kafka, tmp_path: Path, point: str, deed: str
) -> None:
    rows = [new_delivery(b"%d" % number) for number in range(200)]
    await spill(kafka, *(rows[begin : begin + 20] for begin in range(0, 200, 20)))

    async with role("drain", database_url, kafka, tmp_path, crashpoint=f"{point}:{deed}") as drain:
        if deed == "kill":
            await drain.killed()
        else:
            await drained(database_url, kafka)
    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)

    assert await bodies(database_url) == sorted(row.body for row in rows)


async def test_two_drains_do_no_harm(database_url: str, kafka: Kafka, tmp_path: Path) -> None:
    rows = [new_delivery(b"%d" % number) for number in range(600)]

    async with (
        role("drain", database_url, kafka, tmp_path),
        role("drain", database_url, kafka, tmp_path),
    ):
        await spill(kafka, *(rows[begin : begin + 20] for begin in range(0, 600, 20)))
        await drained(database_url, kafka)

    assert await bodies(database_url) == sorted(row.body for row in rows)


@pytest.mark.parametrize("deed", ["kill", "raise"])
async def test_an_ingress_that_fails_between_spill_and_answer_loses_nothing(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path, deed: str
) -> None:
    async with killed(own, database_url):
        armed = f"ingress.spilled@5:{deed}"
        ingress_role = role("ingress", database_url, kafka, tmp_path, crashpoint=armed)
        ingress = await ingress_role.__aenter__()
        await eventually(lambda: listens(ingress), what="the ingress listens")
        async with load(ingress.port) as ledger:
            if deed == "kill":
                await ingress.killed()
            else:
                await ledger.answered(refused)
                await ledger.answered(in_spill, count=50)
        await ingress_role.__aexit__(None, None, None)

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)
    await assert_kept(database_url, ledger, ingress)


async def test_a_datum_that_postgres_refuses_does_not_hold_up_the_spill(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    rows = [new_delivery(b"%d" % number, root=f"shop:order:{number}") for number in range(9)]
    rows[4] = new_delivery(b"the culprit", root="shop:order:\x00")
    await spill(kafka, rows)

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)

    connection = await asyncpg.connect(database_url)
    stored = await connection.fetch("select root, body from delivery_log order by position")
    refused = await connection.fetch("select body from refused_delivery")
    await connection.close()
    assert [row["body"] for row in stored] == [row.body for row in rows if row is not rows[4]]
    assert [row["body"] for row in refused] == [b"the culprit"]


async def test_a_log_that_is_wrong_is_not_filled_from_the_spill(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery(b"before")])
    owner = await asyncpg.connect(database_url)
    await owner.execute(HEAD_BEHIND)
    await spill(kafka, [new_delivery(b"one"), new_delivery(b"two")])

    async with role("drain", database_url, kafka, tmp_path, crashpoint="none") as drain:
        code = await asyncio.wait_for(drain.process.wait(), 60)

    left = await owner.fetchval("select count(*) from spill_offset where next_offset > 1")
    await owner.close()
    await connection.close()
    assert code == 3
    assert "23505" in drain.log.read_text() and "max(position)" in drain.log.read_text()
    assert left == 0
    assert await bodies(database_url) == [b"before"]


async def test_while_the_log_is_wrong_deliveries_are_spilled_and_the_operator_told_why(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    connection = await connect(database_url, application="test")
    await append_batch(connection, [new_delivery(b"before")])
    owner = await asyncpg.connect(database_url)
    await owner.execute(HEAD_BEHIND)

    async with role("ingress", database_url, kafka, tmp_path) as ingress:
        await eventually(lambda: reports(ingress, spill="ok"), what="the spill is ready")
        async with load(ingress.port) as ledger:
            await ledger.answered(in_spill, count=100)

    await owner.close()
    await connection.close()
    (away,) = lines(ingress, "ingress.log_away")
    assert ledger.statuses().keys() == {200}
    assert "23505" in str(away["detail"]) and "restore both from one backup" in str(away["detail"])


async def test_a_row_that_can_be_put_nowhere_makes_the_drain_wait_and_say_for_what(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(EVERY_ROW.format(table="delivery_log", sqlstate="54000"))
    await spill(kafka, [new_delivery(b"one"), new_delivery(b"two")])

    async with role("drain", database_url, kafka, tmp_path) as drain:
        await eventually(lambda: waits_for(drain, "postgres"), what="it says what it waits for")
        await owner.execute("drop trigger poison on delivery_log")
        await drained(database_url, kafka)

    await owner.close()
    (told,) = lines(drain, "store.away")
    assert "54000" in str(told["detail"]) and "refused_delivery" in str(told["detail"])
    assert await bodies(database_url) == [b"one", b"two"]


async def test_a_row_comes_out_of_the_spill_as_it_went_in(
    database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    row = new_delivery(bytes(range(256)) * 4096, root="shop:order:á", kind="withdraw", trust="hmac")
    await spill(kafka, [row])

    async with role("drain", database_url, kafka, tmp_path):
        await drained(database_url, kafka)

    connection = await asyncpg.connect(database_url)
    stored = await connection.fetchrow("select * from delivery_log")
    await connection.close()
    assert stored is not None
    assert {name: stored[name] for name in NewDelivery.__slots__} == {
        name: getattr(row, name) for name in NewDelivery.__slots__
    }


async def test_a_spill_of_another_kafka_is_refused(database_url: str, kafka: Kafka, tmp_path: Path) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute("insert into spill_offset values ('main', 5, 17)")
    await connection.close()

    async with role("drain", database_url, kafka, tmp_path, crashpoint="none") as drain:
        code = await asyncio.wait_for(drain.process.wait(), 60)

    assert code == 3
    assert "is another Kafka" in drain.log.read_text()


async def test_every_other_role_waits_for_its_stores_and_says_so(
    own: Servers, database_url: str, kafka: Kafka, tmp_path: Path
) -> None:
    async with (
        role("drain", database_url, kafka, tmp_path) as drain,
        role("relay", database_url, kafka, tmp_path) as relay,
        role("projector", database_url, kafka, tmp_path) as projector,
    ):
        every = (drain, relay, projector)
        for process in every:
            await eventually(lambda one=process: works(one), what="all work", timeout_s=60)  # type: ignore[misc]
        await asyncio.to_thread(own.kafka.kill)
        for process in (drain, projector):  # The relay asks nothing of it while there is nothing to publish.
            await eventually(
                lambda one=process: waits_for(one, "kafka"),  # type: ignore[misc]
                what="it says that it waits for Kafka",
                timeout_s=60,
            )
        await asyncio.to_thread(own.postgres.kill)
        await eventually(lambda: waits_for(relay, "postgres"), what="the relay says that it waits")
        await own.give_back_postgres()
        await own.give_back_kafka()
        for process in every:
            await eventually(lambda one=process: works(one), what="all work again", timeout_s=60)  # type: ignore[misc]

    for process in every:
        assert lines(process, "store.back")
        told: dict[object, list[tuple[object, object]]] = {}
        for line in lines(process, "store.away", "store.back"):
            told.setdefault(line["role"], []).append((line["event"], line["store"]))
        for changes in told.values():
            assert all(one != next_ for one, next_ in itertools.pairwise(changes)), "told at each try"


async def works(process: Process) -> bool:
    roles = await health(process)
    begun: Mapping[str, Callable[[Any], bool]] = {
        "drain": lambda details: details["to_drain"] is not None,
        "relay-deliveries": lambda details: details["leading"],
        "relay-events": lambda details: details["leading"],
        "projector": lambda details: len(details["partitions"]) == PARTITIONS,
        "partitions": lambda _: True,
    }
    return all("waiting_for" not in details and begun[name](details) for name, details in roles.items())


async def waits_for(process: Process, store: str) -> bool:
    return store in {details.get("waiting_for") for details in (await health(process)).values()}


def in_log(answer: Answer) -> bool:
    return answer.receipt.startswith("main-")


def in_spill(answer: Answer) -> bool:
    return answer.receipt.startswith("spill-")


def refused(answer: Answer) -> bool:
    return answer.status == 503


async def reports(ingress: Process, **details: str) -> bool:
    return details.items() <= (await health(ingress)).items()


async def stands_still(pid: int) -> bool:
    return set(thread_states(pid)) == {"T"}


def thread_states(pid: int) -> Iterator[str]:
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        yield stat.read_text().rpartition(")")[2].split()[0]


async def listens(ingress: Process) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", ingress.port)
    except OSError:
        return False
    writer.close()
    return True


async def spill(kafka: Kafka, *batches: Sequence[NewDelivery], log: str = "main") -> None:
    spilling = SpillWriter(bootstrap=kafka.bootstrap, prefix=kafka.prefix, log=log)
    stopping = asyncio.Event()
    running = asyncio.create_task(spilling.run(stopping))
    await spilling.tried.wait()
    try:
        for batch in batches:
            await spilling.write(batch)
    finally:
        stopping.set()
        await running


async def warm(kafka: Kafka) -> None:
    """Return once every partition of the spill takes rows; these are of a log that nobody drains."""

    async def takes_rows() -> bool:
        try:
            await spill(kafka, *[[new_delivery()]] * PARTITIONS, log="another")
        except TransientError:
            return False
        return True

    await eventually(takes_rows, what="Kafka takes rows", timeout_s=60)


async def drained(database_url: str, kafka: Kafka) -> None:
    """Return once all that was spilled is in the log."""
    async with reader(kafka.bootstrap) as consumer:
        ends = await consumer.end_offsets(
            [TopicPartition(kafka.prefix + topics.SPILL, at) for at in range(PARTITIONS)]
        )

    async def there() -> bool:
        connection = await asyncpg.connect(database_url)
        rows = await connection.fetch("select partition, next_offset from spill_offset")
        await connection.close()
        reached = {row["partition"]: row["next_offset"] for row in rows}
        return all(reached.get(at.partition, 0) == end for at, end in ends.items())

    await eventually(there, what="the spill is drained", timeout_s=60)


async def bodies(database_url: str) -> list[bytes]:
    connection = await asyncpg.connect(database_url)
    rows = await connection.fetch("select body from delivery_log")
    await connection.close()
    return sorted(row["body"] for row in rows)


async def large_ones(ingress: Process, count: int) -> Counter[tuple[int, bool]]:
    """What `count` deliveries of a megabyte get, 20 at a time: the status, and whether to retry."""
    url = f"http://127.0.0.1:{ingress.port}/webhooks/shop"
    body = b'{"id": "pay_1", "filler": "%s"}' % (b"x" * 1_000_000)
    places = asyncio.Semaphore(20)
    async with aiohttp.ClientSession() as session:

        async def one() -> tuple[int, bool]:
            async with places, session.post(url, data=body) as answer:
                return answer.status, "Retry-After" in answer.headers

        return Counter(await asyncio.gather(*(one() for _ in range(count))))
