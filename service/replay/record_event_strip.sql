-- Notes that the strip $1 of the outbox is read, into the segment $2 of $3 bytes. Primary key.
insert into event_strip (number, name, size)
values ($1, $2, $3)
