-- When the delivery at position $1 was recorded. Primary key; takes no lock.
select recorded_at
from delivery_log
where position = $1
