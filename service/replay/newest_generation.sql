-- The newest generation and where the outbox stood then. A few rows; takes no lock.
select number, positions, event_position
from generation
order by number desc, swapped_at desc
limit 1
