-- Notes how far the partitions $1 are. Locks their rows; primary key.
insert into place (partition, reached, folded)
select * from unnest($1::integer[], $2::bigint[], $3::bigint[])
on conflict (partition) do update
set reached = excluded.reached,
    folded = excluded.folded
