"""Every example of docs/analysts.md runs on made-up data, and those that ask the same say the same."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import pytest

from service.exported import duckdb as duckdb_file
from service.exported.directory import Directory
from tests.exports import export_made_up

PAGE = Path(__file__).parents[3] / "docs" / "analysts.md"
EXAMPLES = {
    (language, name): text
    for language, name, text in re.findall(
        r"^```(sql|python)\n(?:--|#) ([^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
}
SQL = [name for language, name in EXAMPLES if language == "sql"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("analyst")
    asyncio.run(export_made_up(6_000, path / "export"))
    duckdb_file.write(Directory(str(path / "export")), path / "recibo.duckdb")
    return path


def asked(folder: Path, name: str) -> Sequence[tuple[Any, ...]]:
    with duckdb.connect(str(folder / "recibo.duckdb"), read_only=True) as connection:
        return connection.execute(EXAMPLES["sql", name]).fetchall()


def told(folder: Path, name: str) -> str:
    with chdir(folder), redirect_stdout(StringIO()) as output:
        exec(compile(EXAMPLES["python", name], f"analysts.md: {name}", "exec"), {})  # noqa: S102
    return output.getvalue()


def test_the_page_has_its_examples() -> None:
    assert len(re.findall(r"^```(?:sql|python)$", PAGE.read_text(), re.MULTILINE)) == len(EXAMPLES)
    assert {language for language, _ in EXAMPLES} == {"sql", "python"}


@pytest.mark.parametrize("name", SQL)
def test_a_query_of_the_page_finds_something(folder: Path, name: str) -> None:
    assert asked(folder, name)


def test_the_folds_and_the_query_count_the_same_chargebacks(folder: Path) -> None:
    by_provider: dict[str, int] = {}
    for _, provider, orders, _ in asked(folder, "charged back"):
        by_provider[provider] = by_provider.get(provider, 0) + orders

    counted = [line.split() for line in told(folder, "folds").splitlines()]

    assert {provider: int(count) for provider, _, count in counted if count != "0"} == by_provider
    assert sum(by_provider.values()) > 10


def test_polars_and_the_query_count_the_same_payments(folder: Path) -> None:
    queried = {method: orders for method, orders, *_ in asked(folder, "time to payment")}

    shown = told(folder, "polars")

    found = dict(re.findall(r"│ (\w+) +┆ (\d+) +┆", shown))
    assert {str(method or "null"): str(orders) for method, orders in queried.items()} == found


def test_the_dispute_rate_is_disputed_by_paid(folder: Path) -> None:
    for _, paid, disputed, rate in asked(folder, "dispute rate"):
        assert rate == pytest.approx(disputed / paid, abs=0.0001)
