-- The next offset to append of every partition of log $1. A few rows; takes no lock.
select partition, next_offset
from spill_offset
where log = $1
