-- The statements that make the tables $1 of schema $2 again in schema $3, empty, in the order in which
-- they must run: the tables ($4 false), or their keys and indexes ($4 true), all without the rights on them, which
-- a swap copies when it happens. Between the two, autovacuum leaves them alone: it would read what is still being
-- written, and hold up the keys. Reads the catalogue; takes no lock.
with wanted as (
    select c.oid, c.relname, c.reloptions, c.relreplident, w.ordinality,
           format('%I.%I', $3::text, c.relname) as target
    from unnest($1::text[]) with ordinality as w (name, ordinality)
    join pg_class c on c.relname = w.name and c.relnamespace = $2::text::regnamespace
), made as (
    select ordinality, 1 as step, false as index, format(
        'create table %s (like %I.%I including all excluding indexes)%s', target, $2::text, relname,
        coalesce(' with (' || array_to_string(reloptions, ', ') || ')', '')) as statement
    from wanted
    union all
    select ordinality, 2, false, format('alter table %s set (autovacuum_enabled = false)', target)
    from wanted
    union all
    select ordinality, 3, false, format('comment on table %s is %L', target, obj_description(oid, 'pg_class'))
    from wanted
    where obj_description(oid, 'pg_class') is not null
    union all
    select w.ordinality, 4, false,
           format('alter table %s alter column %I set statistics %s', w.target, a.attname, a.attstattarget)
    from wanted w
    join pg_attribute a on a.attrelid = w.oid and a.attnum > 0 and a.attstattarget is not null
    union all
    select w.ordinality, 5, true,
           format('alter table %s add constraint %I %s', w.target, k.conname, pg_get_constraintdef(k.oid))
    from wanted w
    join pg_constraint k on k.conrelid = w.oid and k.contype in ('p', 'u')
    union all
    select w.ordinality, 6, true,
           regexp_replace(pg_get_indexdef(i.indexrelid), ' ON .*? USING ', format(' ON %s USING ', w.target))
    from wanted w
    join pg_index i on i.indrelid = w.oid
    where not exists (select from pg_constraint k where k.conindid = i.indexrelid)
    union all
    select w.ordinality, 7, true, format('comment on constraint %I on %s is %L', k.conname, w.target, d.description)
    from wanted w
    join pg_constraint k on k.conrelid = w.oid and k.contype in ('p', 'u')
    join pg_description d on d.classoid = 'pg_constraint'::regclass and d.objoid = k.oid
    union all
    select w.ordinality, 7, true, format('comment on index %I.%I is %L', $3::text, x.relname, d.description)
    from wanted w
    join pg_index i on i.indrelid = w.oid
    join pg_class x on x.oid = i.indexrelid
    join pg_description d on d.classoid = 'pg_class'::regclass and d.objoid = x.oid
    union all
    select w.ordinality, 7, true, format('alter table %s replica identity %s', w.target, case w.relreplident
        when 'f' then 'full' when 'n' then 'nothing' else 'using index ' || quote_ident(x.relname) end)
    from wanted w
    left join pg_index i on i.indrelid = w.oid and i.indisreplident
    left join pg_class x on x.oid = i.indexrelid
    where w.relreplident <> 'd'
    union all
    select ordinality, 8, true, format('alter table %s reset (autovacuum_enabled)', target)
    from wanted
    union all
    select ordinality, 9, true, format('alter table %s set (%s)', target, array_to_string(reloptions, ', '))
    from wanted
    where reloptions is not null
)
select statement
from made
where index = $4
order by ordinality, step, statement
