-- Locks the position rows of the partitions $2 of log $1 until the caller commits, in one order for
-- all callers. Primary key.
select partition, position, kafka_offset, generation, fold_version
from projector_position
where log = $1 and partition = any($2::integer[])
order by partition
for update
