-- Notes that the roots $1 changed since the last whole comparison. Primary key.
insert into touched (root)
select * from unnest($1::text[])
on conflict do nothing
