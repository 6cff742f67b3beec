"""The service's role appends by functions alone, and none of them can be made to act for its caller."""

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from service.postgres import SERVICE_ROLE
from tests.servers import fresh_prefix

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_DEFINERS: Final = """
select p.oid::regprocedure::text as signature, n.nspname as schema, p.proname as name,
       p.proconfig as settings,
       coalesce((select array_agg(t::regtype::text order by o)
                 from unnest(p.proargtypes) with ordinality as a (t, o)), '{}') as arguments,
       has_function_privilege('public', p.oid, 'execute') as anybody_may
from pg_proc p
join pg_namespace n on n.oid = p.pronamespace
where p.prosecdef and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
"""

_SAMPLES: Final = {
    "text": "'deliveries'",
    "integer": "30",
    "bigint": "1",
    "bytea": "'x'::bytea",
    "jsonb": "'{}'::jsonb",
    "timestamp with time zone": "now()",
}
"""An argument of each type with which every function does its work; a new type of argument belongs here."""

_TRAP: Final = """
create temp table loot (by text);
create function pg_temp.spring() returns void language plpgsql as $$
begin
    if current_user <> 'recibo_service' then
        insert into pg_temp.loot values (current_user);
    end if;
end
$$;
create function pg_temp.spring_as_trigger() returns trigger language plpgsql as $$
begin
    perform pg_temp.spring();
    return new;
end
$$;
"""

_DECOYS: Final = (
    # An exact match of arguments beats what pg_catalog has for any array, where the schema is looked in.
    "{}.cardinality(anything bytea[]) returns integer",
    "{}.cardinality(anything text[]) returns integer",
    "{}.clock_timestamp() returns timestamptz",
    "{}.pg_notify(a text, b text) returns void",
    "{}.format(a text, b text) returns text",
    "{}.lpad(a text, b integer, c text) returns text",
)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def intruder(database_url: str, owner: Connection) -> AsyncIterator[Connection]:
    """A session that got the service's login, in a database where anybody may create in `public`."""
    name = fresh_prefix().rstrip(".")
    await owner.execute(f"create role {name} login in role {SERVICE_ROLE}")
    await owner.execute(f"grant create on schema public to {SERVICE_ROLE}")
    parts = urlsplit(database_url)
    url = urlunsplit(parts._replace(netloc=f"{name}@{parts.hostname}:{parts.port}"))
    connection = await asyncpg.connect(url, server_settings={"role": SERVICE_ROLE})
    yield connection
    await connection.close()
    await owner.execute(f"drop owned by {name}")
    await owner.execute(f"drop role {name}")


async def test_no_function_of_the_owner_runs_what_its_caller_made(
    owner: Connection, intruder: Connection
) -> None:
    definers = await owner.fetch(_DEFINERS)
    await _set_traps(owner, intruder)

    for definer in definers:
        await _call(intruder, definer)

    assert {"append_deliveries", "append_events", "ensure_partitions"} <= {one["name"] for one in definers}
    assert await _loot(intruder) == []


@pytest.mark.parametrize("path", ["", "set search_path from current"], ids=["the caller's", "pg_temp first"])
async def test_the_traps_work_on_a_function_that_looks_for_names_where_its_caller_made_them(
    owner: Connection, intruder: Connection, path: str
) -> None:
    await owner.execute(
        f"""create function careless() returns void language plpgsql security definer {path} as $$
        begin update log_head set last_position = last_position; end $$"""
    )
    await _set_traps(owner, intruder)

    await intruder.execute("select public.careless()")

    assert set(await _loot(intruder)) == {await owner.fetchval("select current_user")}


async def test_every_function_of_the_owner_has_a_fixed_path_and_is_the_services_alone(
    owner: Connection,
) -> None:
    for definer in await owner.fetch(_DEFINERS):
        assert "search_path=pg_catalog, pg_temp" in (definer["settings"] or []), definer["signature"]
        assert not definer["anybody_may"], definer["signature"]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into delivery_log select * from delivery_log",
        "insert into event_log select * from event_log",
        "update log_head set last_position = 0",
        "insert into log_head select * from log_head",
        "insert into log_partition select * from log_partition",
    ],
)
async def test_the_service_writes_no_log_but_by_the_functions(intruder: Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied"):
        await intruder.execute(statement)


async def _set_traps(owner: Connection, intruder: Connection) -> None:
    """Put before every name that a function may look for one of the intruder's own."""
    await intruder.execute(_TRAP)
    for table in await owner.fetch(
        "select c.relname as name from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind in ('r', 'p') and not c.relispartition"
    ):
        await _set_trap(intruder, table["name"])
    for decoy in _DECOYS:
        for schema in ("pg_temp", "public"):
            result = "null" if "void" not in decoy else ""
            await intruder.execute(
                f"create function {decoy.format(schema)} language plpgsql as"
                f" $$ begin perform pg_temp.spring(); return {result}; end $$"
            )
    for schema in ("pg_temp", "public"):
        await intruder.execute(
            f"create function {schema}.added(a bigint, b bigint) returns bigint language plpgsql as"
            " $$ begin perform pg_temp.spring(); return a; end $$"
        )
        await intruder.execute(
            f"create operator {schema}.+ (leftarg = bigint, rightarg = bigint, function = {schema}.added)"
        )
    await intruder.execute("set search_path = pg_temp, public, pg_catalog")


async def _set_trap(intruder: Connection, table: str) -> None:
    columns = await intruder.fetch(
        "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute"
        " where attrelid = ('public.' || $1)::regclass and attnum > 0 and not attisdropped order by attnum",
        table,
    )
    listed = ", ".join(f"{column['name']} {column['type']}" for column in columns)
    await intruder.execute(f"create temp table {table} ({listed})")
    if await intruder.fetchval("select has_table_privilege('public.' || $1, 'select')", table):
        await intruder.execute(f"insert into pg_temp.{table} select * from public.{table}")
    for level in ("row", "statement"):
        await intruder.execute(
            f"create trigger spring_{level} before insert or update or delete on pg_temp.{table}"
            f" for each {level} execute function pg_temp.spring_as_trigger()"
        )


async def _call(intruder: Connection, definer: asyncpg.Record) -> None:
    arguments = []
    for type_ in definer["arguments"]:
        sample = _SAMPLES[type_.removesuffix("[]")]
        arguments.append(f"array[{sample}]" if type_.endswith("[]") else sample)
    await intruder.execute(f"select {definer['schema']}.{definer['name']}({', '.join(arguments)})")


async def _loot(intruder: Connection) -> Sequence[str]:
    return [row["by"] for row in await intruder.fetch("select by from pg_temp.loot")]
