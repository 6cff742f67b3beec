-- How many records the outbox has after position $1 up to position $2. Walks the primary key; takes no lock.
select count(*)
from event_log
where position > $1 and position <= $2
