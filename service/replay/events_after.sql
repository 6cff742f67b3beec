-- What identifies the records of the outbox after position $1 up to position $2, at most $3. Walks the
-- primary key; takes no lock.
select position, topic, partition_key, event_id
from event_log
where position > $1 and position <= $2
order by position
limit $3
