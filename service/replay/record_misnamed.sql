-- Notes that the root $1 has another id, $3, in the outbox than the log yields, $2. Primary key.
insert into misnamed (root, expected, found)
values ($1, $2, $3)
on conflict do nothing
