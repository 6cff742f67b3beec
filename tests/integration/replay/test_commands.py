"""`recibo replay` and `recibo show` as an operator types them: what they say, and with which exit code."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg
import orjson
import pytest

from tests.commands import environment
from tests.deliveries import admin_payment, gen_payment
from tests.replays import append, fold_live, lives

ROOT = "shop:order:pay_1"


@pytest.fixture
async def folded(database_url: str) -> str:
    rows = [
        admin_payment("pay_1", word, f"2025-11-0{day}T13:00:00Z")
        for day, word in ((3, "PENDING"), (5, "REFUNDED"), (4, "APPROVED"))
    ]
    await append(database_url, [*rows, *lives(200)], batch=1)
    await fold_live(database_url)
    return database_url


async def recibo(database_url: str, folder: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", *arguments),
        env=environment(database_url, folder, TMPDIR=str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def recorded_at(database_url: str, position: int) -> str:
    owner = await asyncpg.connect(database_url)
    instant = await owner.fetchval("select recorded_at from delivery_log where position = $1", position)
    await owner.close()
    return str(instant.isoformat().replace("+00:00", "Z"))


def summary(output: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(output.splitlines()[-1])
    return document


async def test_a_verification_says_that_all_holds(folded: str, tmp_path: Path) -> None:
    code, output, _ = await recibo(folded, tmp_path, "replay", "verify")

    assert (code, summary(output)["holds"], summary(output)["rows"]) == (0, True, 203)


async def test_a_verification_that_fails_is_for_a_human(folded: str, tmp_path: Path) -> None:
    owner = await asyncpg.connect(folded)
    await owner.execute("update order_state set status = 'paid' where root = $1", ROOT)
    await owner.close()

    code, output, errors = await recibo(folded, tmp_path, "replay", "verify")

    found = summary(output)
    assert (code, found["holds"], found["compared"]["different"]) == (3, False, 1)
    assert found["compared"]["listed"][0]["root"] == ROOT
    assert errors.strip().count("\n") == 0


async def test_rebuild_compare_swap_and_drop(folded: str, tmp_path: Path) -> None:
    assert (await recibo(folded, tmp_path, "replay", "rebuild", "--compare"))[0] == 0
    code, output, _ = await recibo(folded, tmp_path, "replay", "rebuild", "--compare", "--swap")
    again = await recibo(folded, tmp_path, "replay", "rebuild", "--swap")
    dropped = await recibo(folded, tmp_path, "replay", "drop-previous")

    assert (code, summary(output)["swapped"]["generation"]) == (0, 1)
    assert again[0] == 5
    assert "drop-previous" in again[2]
    assert dropped[0] == 0
    assert (await recibo(folded, tmp_path, "replay", "drop-previous"))[0] == 5


async def test_a_root_as_it_was_known_and_as_it_was(folded: str, tmp_path: Path) -> None:
    second = await recorded_at(folded, 2)

    code, output, _ = await recibo(folded, tmp_path, "show", ROOT, "--known-at", second, "--json")
    known = orjson.loads(output)
    _, output, _ = await recibo(folded, tmp_path, "show", ROOT, "--effective-at", "2025-11-04", "--json")
    effective = orjson.loads(output)
    _, output, _ = await recibo(
        folded, tmp_path, "show", ROOT, "--known-at", second, "--effective-at", "2025-11-04T10:30", "--json"
    )
    both = orjson.loads(output)
    _, table, _ = await recibo(folded, tmp_path, "show", ROOT, "--known-at", second)

    assert code == 0
    assert [entry["status"] for entry in known["states"]["order"]["history"]] == ["pending", "refunded"]
    assert [(entry["position"], entry["known"]) for entry in known["entries"]] == [
        (1, True),
        (3, False),
        (2, True),
    ]
    assert effective["states"]["order"]["status"] == "paid"
    assert [entry["happened"] for entry in effective["entries"]] == [True, True, False]
    assert both["states"]["order"]["status"] == "pending"
    assert table.count("not yet known") == 1


async def test_of_a_root_on_which_the_fold_fails_the_timeline_is_shown(
    database_url: str, tmp_path: Path
) -> None:
    paid = [gen_payment(f"a1000000-0000-4000-8000-00000000000{number}", 2**62) for number in (1, 2)]
    await append(database_url, paid, batch=1)
    await fold_live(database_url)
    root = str(paid[0].root)

    code, output, errors = await recibo(database_url, tmp_path, "show", root, "--json")
    _, table, _ = await recibo(database_url, tmp_path, "show", root)

    seen = orjson.loads(output)
    owner = await asyncpg.connect(database_url)
    reason = await owner.fetchval("select reason from parked_root where root = $1", root)
    await owner.close()
    assert (code, seen["states"]["order"]) == (3, None)
    assert [entry["counts"] for entry in seen["entries"]] == [True, True]
    assert reason == f"its fold failed: {seen['fault']}"
    assert errors.count("\n") == 1
    assert "OverflowError at payments.py" in errors
    assert "main-2" in table


async def test_all_roots_as_of_an_instant(folded: str, tmp_path: Path) -> None:
    second = await recorded_at(folded, 2)

    code, output, _ = await recibo(
        folded, tmp_path, "replay", "as-of", "--into", "then", "--known-at", second
    )
    again = await recibo(folded, tmp_path, "replay", "as-of", "--into", "then", "--known-at", second)

    owner = await asyncpg.connect(folded)
    rows = await owner.fetch('select root, status from "then".order_state')
    await owner.close()
    assert (code, summary(output)["position"]) == (0, 2)
    assert [tuple(row) for row in rows] == [(ROOT, "refunded")]
    assert again[0] == 5
    assert "name or drop it" in again[2]


async def test_all_roots_as_of_what_had_happened(folded: str, tmp_path: Path) -> None:
    third = await recorded_at(folded, 3)

    code, output, _ = await recibo(
        folded, tmp_path, "replay", "as-of", "--into", "then", "--known-at", third,
        "--effective-at", "2025-11-04T10:30",
    )  # fmt: skip

    owner = await asyncpg.connect(folded)
    rows = await owner.fetch('select root, status from "then".order_state')
    comment = await owner.fetchval("select obj_description('\"then\"'::regnamespace)")
    await owner.close()
    assert (code, summary(output)["position"]) == (0, 3)
    assert [tuple(row) for row in rows] == [(ROOT, "paid")]
    assert "what had happened by 2025-11-04T13:30:00.000000000Z" in comment


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "shop:order:nobody"), 5, "no delivery that can be read is about shop:order:nobody"),
        (("show", ROOT, "--known-at", "2999-01-01"), 5, "is no instant"),
        (("show", ROOT, "--known-at", "2200-01-01"), 5, "is in the future"),
        (("show", ROOT, "--effective-at", "2200-01-01"), 5, "is in the future"),
        (("show", ROOT, "--known-at", "2001-01-01"), 5, "is before the log"),
        (("show", ROOT, "--known-at", "last week"), 5, "is no instant"),
        (("replay", "as-of", "--into", "then", "--known-at", "2200-01-01"), 5, "is in the future"),
        (("replay", "as-of", "--into", "then", "--effective-at", "2200-01-01"), 5, "is in the future"),
        (("replay", "as-of", "--into", "public"), 2, "takes a new name"),
        (("replay", "as-of", "--into", "recibo_shadow"), 2, "takes a new name"),
        (("replay", "rebuild", "--publish-amendments"), 2, "belongs to --swap"),
        (("replay", "rebuild", "--state-lost"), 5, "are not lost"),
        (("replay", "rebuild", "--spill-folder", "/dev/null/x"), 5, "--spill-folder"),
    ],
)
async def test_bad_input_is_one_clear_line(
    folded: str, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, _, errors = await recibo(folded, tmp_path, *arguments)

    assert found == code
    assert said in errors
    assert errors.strip().count("\n") == 0
