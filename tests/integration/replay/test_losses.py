"""A swap loses nothing that somebody put on a live table: it takes rights over, and refuses for all else."""

import asyncio
import sys
from pathlib import Path

import asyncpg
import pytest

from projections.facts import Reading
from service.errors import PermanentError
from service.replay import compare as comparing
from service.replay import shadow
from service.replay import swap as swapping
from service.replay.rebuild import build
from service.replay.site import Site
from tests.commands import environment
from tests.projectors import states
from tests.replays import append, fold_live, lives, rebuilding, swapped

OTHER = Reading(payer_key=b"another key, so another fold")

NOTHING = "create function nothing() returns trigger language plpgsql as 'begin return null; end'; "
TRIGGER = (
    NOTHING + "create trigger theirs after insert on order_state for each row execute function nothing()"
)

KINDS = {
    "trigger": (TRIGGER, "trigger theirs on table order_state"),
    "constraint_trigger": (
        NOTHING + "create constraint trigger theirs after insert on order_state"
        " for each row execute function nothing()",
        "trigger theirs on table order_state",
    ),
    "rule": (
        "create rule theirs as on delete to cart_state do instead nothing",
        "rule theirs on table cart_state",
    ),
    "policy": ("create policy theirs on order_state using (true)", "policy theirs on table order_state"),
    "policy_elsewhere": (
        (
            "create table other (root text); create policy theirs on other"
            " using (root in (select root from order_state))"
        ),
        "policy theirs on table other",
    ),
    "row_security": (
        "alter table order_state enable row level security",
        "row level security of table order_state",
    ),
    "publication": (
        "create publication theirs for table order_state (root, status) where (status = 'paid')",
        "publication of table order_state in publication theirs",
    ),
    "foreign_key": (
        (
            "create table other (root text primary key);"
            " alter table quarantine add constraint theirs foreign key (root) references other"
        ),
        "constraint theirs on table quarantine",
    ),
    "foreign_key_from_elsewhere": (
        "create table other (root text constraint theirs references order_state)",
        "constraint theirs on table other",
    ),
    "exclusion": (
        "alter table order_state add constraint theirs exclude using btree (root with =)",
        "constraint theirs on table order_state",
    ),
    "statistics": (
        "create statistics theirs on account, status from order_state",
        "statistics object theirs",
    ),
    "materialized_view": (
        "create materialized view theirs as select root from order_state",
        "materialized view theirs",
    ),
    "child": ("create table theirs () inherits (order_state)", "table theirs"),
    "parent": (
        "create table theirs (); alter table order_state inherit theirs",
        "the parent theirs of table order_state",
    ),
    "type": (
        (
            "create type theirs as (log text, position bigint, root text, retried_at timestamptz);"
            " drop table retried_delivery; create table retried_delivery of theirs"
        ),
        "the type of table retried_delivery",
    ),
    "serial": ("alter table order_state add column theirs serial", "sequence order_state_theirs_seq"),
    "identity": (
        "alter table order_state add column theirs bigint generated always as identity",
        "sequence order_state_theirs_seq",
    ),
    "function": (
        "create function theirs() returns bigint begin atomic select count(*) from order_state; end",
        "function theirs()",
    ),
    "function_of_rows": (
        "create function theirs(order_state) returns text language sql as 'select $1.status'",
        "function theirs(order_state)",
    ),
    "column_of_rows": (
        "create table theirs (was order_state, were cart_state[])",
        "column was of table theirs",
    ),
    "columns_of_rows": ("create table theirs (were cart_state[])", "column were of table theirs"),
    "view_of_rows": ("create view theirs as select o from order_state o", "column o of view theirs"),
    "owner": (
        "alter table order_state owner to recibo_analyst",
        "the owner of table order_state (log in as recibo_analyst)",
    ),
    "unlogged": ("alter table order_state set unlogged", "the persistence of table order_state"),
    "toast_options": (
        "alter table timeline set (toast.autovacuum_enabled = false)",
        "the TOAST options of table timeline",
    ),
    "column_options": (
        "alter table order_state alter column account set (n_distinct = 5)",
        "the options of column account of table order_state",
    ),
    "clustering": (
        "alter table order_state cluster on order_state_pkey",
        "the clustering of index order_state_pkey",
    ),
    "security_label": (
        (
            "set allow_system_table_mods = on; insert into pg_seclabel"
            " values ('order_state'::regclass, 'pg_class'::regclass, 0, 'theirs', 'secret')"
        ),
        "a security label of table order_state",
    ),
    "access_method": (
        (
            "create access method theirs type table handler heap_tableam_handler;"
            " alter table order_state set access method theirs"
        ),
        "the access method of table order_state",
    ),
    "tablespace": (
        # As catalogue rows: a real one needs a folder of the server's, and a whole test to remove it.
        (
            "set allow_system_table_mods = on;"
            " update pg_class set reltablespace = 1664 where oid = 'order_state'::regclass"
        ),
        "the tablespace of table order_state",
    ),
    "index_tablespace": (
        (
            "set allow_system_table_mods = on;"
            " update pg_class set reltablespace = 1664 where oid = 'order_state_pkey'::regclass"
        ),
        "the tablespace of index order_state_pkey",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_swap_refuses_what_it_would_lose_and_names_it(database_url: str, kind: str) -> None:
    make, name = KINDS[kind]
    owner = await asyncpg.connect(database_url)
    await shadow.refuse_losses(owner, "public")
    await owner.execute(make)

    with pytest.raises(PermanentError, match="drop or undo that, swap, and make it again") as refused:
        await shadow.refuse_losses(owner, "public")

    assert name in str(refused.value)
    await owner.close()


async def test_it_refuses_before_the_rebuild_begins(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute(TRIGGER)

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", "replay", "rebuild", "--swap"),
        env=environment(database_url, tmp_path, TMPDIR=str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()

    assert process.returncode == 5
    assert "a swap would lose trigger theirs on table order_state" in errors.decode()
    assert not await shadow.exists(owner, "recibo_shadow")
    await owner.close()


ALTERED = {
    "trigger": (TRIGGER, "would lose trigger theirs on table order_state"),
    "index": (
        "create index theirs on order_state (account)",
        "differ from the live ones in index theirs of table order_state",
    ),
    "option": (
        "alter table order_state set (fillfactor = 70)",
        "differ from the live ones in table order_state",
    ),
    "statistics": (
        "alter table order_state alter column account set statistics 7",
        "differ from the live ones in column account of table order_state",
    ),
    "check": (
        "alter table order_state add constraint theirs check (facts > 0) not valid",
        "differ from the live ones in constraint theirs of table order_state",
    ),
}


@pytest.mark.parametrize("what", ALTERED)
@pytest.mark.parametrize("when", ["while it was rebuilt", "while it was compared"])
async def test_what_was_made_meanwhile_is_not_lost_either(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    alter, named = ALTERED[what]
    await append(database_url, lives(100))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    before = await states(owner)
    compared = []
    really = comparing.compare_all

    async def compare_all(site: Site) -> None:
        await really(site)
        compared.append(site)
        await owner.execute(alter)

    monkeypatch.setattr(swapping, "compare_all", compare_all)
    async with rebuilding(database_url, tmp_path, reading=OTHER) as (site, options):
        await build(site, options)
        if when == "while it was rebuilt":
            await owner.execute(alter)
        with pytest.raises(PermanentError, match=named):
            await swapping.swap(site, publish_amendments=False)

    assert bool(compared) == (when == "while it was compared")
    assert await states(owner) == before
    await owner.close()


async def test_rights_as_they_are_at_the_swap_are_those_of_the_new_tables(
    database_url: str, tmp_path: Path
) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute("grant select on order_state to public; grant update on cart_state to recibo_analyst")
    # What the rebuilt tables would begin with: nobody gets a right by a swap that a live table does not give.
    await owner.execute("alter default privileges grant delete, references on tables to recibo_analyst")
    async with rebuilding(database_url, tmp_path) as (site, options):
        await build(site, options)
        await owner.execute(
            """grant select (root, status), update (method) on order_state to recibo_analyst;
               grant select on dispute_state to recibo_analyst with grant option;
               grant select (root) on cart_state to public;
               revoke update on cart_state from recibo_analyst;
               revoke delete on withdrawal_state from recibo_service"""
        )
        before = await _rights(owner)

        await swapping.swap(site, publish_amendments=False)

    assert await _rights(owner) == before
    assert len(before) > 30
    await owner.close()


async def test_comments_and_replica_identity_are_made_again(database_url: str, tmp_path: Path) -> None:
    await append(database_url, lives(100))
    await fold_live(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        """comment on constraint order_state_pkey on order_state is 'of the key''s constraint';
           comment on index order_state_pkey is 'of the key';
           comment on index order_state_payer_email is 'of an index';
           alter table order_state replica identity full;
           alter table cart_state replica identity nothing;
           alter table timeline replica identity using index timeline_pkey"""
    )
    before = await owner.fetch(_DESCRIPTIONS)

    await swapped(database_url, tmp_path)

    assert await owner.fetch(_DESCRIPTIONS) == before
    assert [row["relreplident"] for row in before if row["relname"] in {"timeline", "cart_state"}] == [
        b"n",
        b"i",
    ]
    await owner.close()


_DESCRIPTIONS = """
select c.relname, c.relreplident, obj_description(c.oid, 'pg_class'), obj_description(k.oid, 'pg_constraint')
from pg_class c
left join pg_constraint k on k.conindid = c.oid and k.contype = 'p'
where c.relnamespace = 'public'::regnamespace and c.relname ~ '_state|timeline' and c.relkind in ('r', 'i')
order by c.relname
"""


async def _rights(owner: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[object, ...]]:
    rows = await owner.fetch(
        """with entries as (
               select relname, null::name as attname, relacl as acl, relnamespace from pg_class
               union all
               select c.relname, a.attname, a.attacl, c.relnamespace
               from pg_class c join pg_attribute a on a.attrelid = c.oid)
           select relname, attname, x.grantee, x.privilege_type, x.is_grantable
           from entries, aclexplode(acl) x
           where relnamespace = 'public'::regnamespace and relname ~ '_state|timeline|quarantine'
           order by 1, 2, 3, 4, 5"""
    )
    return [tuple(row) for row in rows]
