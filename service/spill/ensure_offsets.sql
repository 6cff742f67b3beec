-- Makes the rows of all partitions (0 to $2 - 1) of log $1 that do not exist yet, at offset 0.
-- Primary key.
insert into spill_offset (log, partition, next_offset)
select $1, partition, 0
from generate_series(0, $2 - 1) as partition
on conflict do nothing
