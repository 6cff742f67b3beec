-- The buckets that are folded. Reads the whole table; takes no lock.
select number, counts
from bucket
order by number
