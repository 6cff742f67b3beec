-- The strips that are read, in log order. Reads the whole table; takes no lock.
select number, counts, segments, skipped
from strip
order by number
