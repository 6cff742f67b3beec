-- What the tables $1 of schema $2 are made of, a row for each column, constraint, index and table: its name, and
-- all that a rebuilt table must have of it. Reads the catalogue; takes no lock.
with t as (
    select c.*
    from pg_class c
    where c.relname = any($1::text[]) and c.relnamespace = $2::text::regnamespace
)
select format('column %I of table %I', a.attname, t.relname) as name, concat_ws(
    ' ', row_number() over (partition by t.oid order by a.attnum), format_type(a.atttypid, a.atttypmod),
    a.attnotnull, a.attcollation, a.attgenerated, a.attidentity, a.attstorage, a.attcompression,
    coalesce(a.attstattarget, -1), pg_get_expr(v.adbin, v.adrelid),
    quote_nullable(col_description(t.oid, a.attnum))) as form
from t
join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef v on v.adrelid = t.oid and v.adnum = a.attnum
union all
select format('table %I', t.relname), concat_ws(
    ' ', t.relreplident, (select array_agg(o order by o) from unnest(t.reloptions) o),
    quote_nullable(obj_description(t.oid, 'pg_class')))
from t
union all
select format('constraint %I of table %I', k.conname, t.relname), concat_ws(
    ' ', pg_get_constraintdef(k.oid), quote_nullable(obj_description(k.oid, 'pg_constraint')))
from t
join pg_constraint k on k.conrelid = t.oid
union all
select format('index %I of table %I', x.relname, t.relname), concat_ws(
    ' ', regexp_replace(pg_get_indexdef(x.oid), ' ON .*? USING ', ' USING '), i.indisreplident,
    (select array_agg(a.attstattarget order by a.attnum) from pg_attribute a where a.attrelid = x.oid),
    quote_nullable(obj_description(x.oid, 'pg_class')))
from t
join pg_index i on i.indrelid = t.oid
join pg_class x on x.oid = i.indexrelid
