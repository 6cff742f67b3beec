-- Appends a batch to event_log inside the caller's transaction. Locks the head row of that log
-- until the caller commits, so it comes last in the transaction.
select first_position
from append_events($1, $2, $3, $4, $5, $6)
