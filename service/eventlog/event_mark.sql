-- What tells the event at position $1 from another log's. Primary key; takes no lock.
select recorded_at, event_id as fingerprint
from event_log
where position = $1
