-- Writes the timelines of the roots $1. Locks their rows; primary key.
insert into timeline (root, partition, facts, document)
select * from unnest($1::text[], $2::integer[], $3::integer[], $4::bytea[])
on conflict (root) do update
set facts = excluded.facts,
    document = excluded.document
