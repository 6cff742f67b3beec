-- Notes that the quarantine of the deliveries at the positions $1 was told of. A table of ours.
insert into told_quarantine (position)
select * from unnest($1::bigint[])
