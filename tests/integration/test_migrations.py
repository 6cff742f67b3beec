"""Migrations move forward only, each whole or not at all, and never change once applied."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from service.errors import InvariantError, PermanentError
from service.localstack import Stack
from service.migrations import migrate
from tests.servers import empty_database


@pytest.fixture
async def empty(stack: Stack) -> AsyncIterator[str]:
    async with empty_database(stack.database_url) as url:
        yield url


def write(folder: Path, **files: str) -> Path:
    for name, sql in files.items():
        (folder / f"{name}.sql").write_text(sql)
    return folder


async def test_two_at_once_apply_each_file_once_in_order(empty: str, tmp_path: Path) -> None:
    folder = write(tmp_path, a1="create table one (n int)", a2="alter table one rename n to m")

    applied = await asyncio.gather(migrate(empty, folder), migrate(empty, folder))

    assert sorted(applied, key=len) == [[], ["a1.sql", "a2.sql"]]


async def test_a_file_that_fails_leaves_nothing_of_itself_and_all_before_it(
    empty: str, tmp_path: Path
) -> None:
    folder = write(tmp_path, a1="create table one (n int)", a2="create table two (n int); select 1 / 0")

    with pytest.raises(Exception, match="22012"):
        await migrate(empty, folder)
    write(folder, a2="create table two (n int)")

    assert await migrate(empty, folder) == ["a2.sql"]


async def test_a_file_that_changed_after_it_was_applied_stops_everything(empty: str, tmp_path: Path) -> None:
    folder = write(tmp_path, a1="create table one (n int)")
    await migrate(empty, folder)
    write(folder, a1="create table one (n bigint)", a2="create table two (n int)")

    with pytest.raises(InvariantError, match=r"a1\.sql is not the file that was applied"):
        await migrate(empty, folder)

    owner = await asyncpg.connect(empty)
    assert await owner.fetchval("select to_regclass('two')") is None
    await owner.close()


async def test_a_login_that_is_not_the_owners_is_told_which_to_take(empty: str, tmp_path: Path) -> None:
    folder = write(tmp_path, a1="set role pg_monitor; create table one (n int)")

    with pytest.raises(PermanentError, match="RECIBO_MIGRATION_DATABASE_URL"):
        await migrate(empty, folder)
