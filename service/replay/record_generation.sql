-- Records the swap into generation $1 at the positions $2 of log $3, and how far event_log is now. The
-- caller comes last in its transaction: no other event can stand between.
insert into generation (number, swapped_at, positions, event_position)
select $1, clock_timestamp(), $2, last_position
from log_head
where log = 'events'
