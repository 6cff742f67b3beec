-- The views that read one of the tables $1 of schema $2, their options and texts. Every name in a text is
-- whole, for the search path holds only pg_catalog then. Reads the catalogue; takes no lock.
select distinct v.oid::regclass::text as name, array_to_string(v.reloptions, ', ') as options,
       pg_get_viewdef(v.oid) as definition
from pg_class t
join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid
    and d.classid = 'pg_rewrite'::regclass
join pg_rewrite r on r.oid = d.objid
join pg_class v on v.oid = r.ev_class and v.relkind = 'v'
where t.relname = any($1::text[]) and t.relnamespace = $2::text::regnamespace
order by name
