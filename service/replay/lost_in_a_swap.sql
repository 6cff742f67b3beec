-- What a swap of the tables $1 of schema $2 would lose: each object that depends on one of them, or on its row
-- type, unless the exchange makes it again (views) or the rebuilt table has its own (defaults, keys, checks,
-- indexes, TOAST); and the properties that `make_tables` does not copy. Reads the catalogue; takes no lock.
with live as (
    select c.*, c.oid::regclass::text as name
    from pg_class c
    where c.relname = any($1::text[]) and c.relnamespace = $2::text::regnamespace
), depended_on as (
    select oid, 'pg_class'::regclass as classid, oid as objid from live
    union all
    select oid, 'pg_type'::regclass, reltype from live
    union all
    select t.oid, 'pg_type'::regclass, r.typarray from live t join pg_type r on r.oid = t.reltype
), dependent as (
    select distinct d.classid, d.objid, d.objsubid
    from depended_on t
    join pg_depend d on d.refclassid = t.classid and d.refobjid = t.objid
    where not (d.classid = 'pg_class'::regclass and d.objid = t.oid)
      and not (d.classid = 'pg_type'::regclass and d.deptype = 'i')
      and d.classid <> 'pg_attrdef'::regclass
      and not exists (
          select from pg_class o
          where d.classid = 'pg_class'::regclass and o.oid = d.objid and d.deptype in ('a', 'i')
            and o.relkind in ('i', 't'))
      and not exists (
          select from pg_constraint k
          where d.classid = 'pg_constraint'::regclass and k.oid = d.objid
            and k.conrelid = t.oid and k.contype in ('p', 'u', 'c', 'n'))
), lost as (
    select coalesce(
        (select 'materialized view ' || r.ev_class::regclass::text
         from pg_rewrite r join pg_class m on m.oid = r.ev_class and m.relkind = 'm'
         where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid),
        pg_describe_object(d.classid, d.objid, d.objsubid)) as what
    from dependent d
    where not exists (
        select from pg_rewrite r join pg_class v on v.oid = r.ev_class and v.relkind = 'v'
        where d.classid = 'pg_rewrite'::regclass and r.oid = d.objid)
    union all
    select 'row level security of table ' || name from live where relrowsecurity or relforcerowsecurity
    union all
    select format('the owner of table %s (log in as %s)', name, relowner::regrole)
    from live where relowner <> current_user::regrole
    union all
    select 'the tablespace of table ' || name from live where reltablespace <> 0
    union all
    select 'the persistence of table ' || name from live where relpersistence <> 'p'
    union all
    select 'the access method of table ' || name
    from live join pg_am m on m.oid = relam and m.amname <> 'heap'
    union all
    select 'the type of table ' || name from live where reloftype <> 0
    union all
    select format('the parent %s of table %s', i.inhparent::regclass, name)
    from live t join pg_inherits i on i.inhrelid = t.oid
    union all
    select 'the TOAST options of table ' || name
    from live t join pg_class o on o.oid = t.reltoastrelid and o.reloptions is not null
    union all
    select format('the options of column %I of table %s', a.attname, name)
    from live t join pg_attribute a on a.attrelid = t.oid and a.attoptions is not null
    union all
    select 'a security label of ' || pg_describe_object(l.classoid, l.objoid, l.objsubid)
    from live t join pg_seclabel l on l.classoid = 'pg_class'::regclass and l.objoid = t.oid
    union all
    select format('the %s of index %s', case when i.indisclustered then 'clustering' else 'tablespace' end,
                  x.oid::regclass)
    from live t
    join pg_index i on i.indrelid = t.oid
    join pg_class x on x.oid = i.indexrelid
    where x.reltablespace <> 0 or i.indisclustered
)
select distinct what
from lost
order by what
