-- Notes that the last swap took in the deliveries at the positions $1. Primary key.
insert into taken_over (position)
select unnest($1::bigint[])
on conflict do nothing
