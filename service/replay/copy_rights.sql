-- The statements that give the tables $1 of schema $3 and their columns the rights that all but the owner have on
-- those of schema $2, and no other. Reads the catalogue; takes no lock.
with entries as (
    select c.relnamespace = $2::text::regnamespace as live, c.relname, null::name as attname, c.relowner, c.relacl as acl
    from pg_class c
    where c.relname = any($1::text[]) and c.relnamespace in ($2::text::regnamespace, $3::text::regnamespace)
    union all
    select c.relnamespace = $2::text::regnamespace, c.relname, a.attname, c.relowner, a.attacl
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and not a.attisdropped
    where c.relname = any($1::text[]) and c.relnamespace in ($2::text::regnamespace, $3::text::regnamespace)
), rights as (
    select distinct e.live, e.relname, e.attname, x.privilege_type, x.is_grantable,
           case x.grantee when 0 then 'public' else x.grantee::regrole::text end as grantee
    from entries e, aclexplode(e.acl) x
    where x.grantee <> e.relowner
), differing as (
    select *, format(
        '%s%s on %I.%I', lower(privilege_type), ' (' || quote_ident(attname) || ')', $3::text, relname) as what
    from rights r
    where not exists (
        select from rights o
        where o.live <> r.live and o.relname = r.relname and o.attname is not distinct from r.attname
          and o.privilege_type = r.privilege_type and o.is_grantable = r.is_grantable and o.grantee = r.grantee)
)
select case
    when live then format(
        'grant %s to %s%s', what, grantee, case when is_grantable then ' with grant option' else '' end)
    else format('revoke %s from %s cascade', what, grantee)
end as statement
from differing
order by live, statement
