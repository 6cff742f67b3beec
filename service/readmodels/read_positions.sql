-- How far the partitions $2 of log $1 are folded. Primary key; takes no lock.
select partition, position, kafka_offset, generation, fold_version
from projector_position
where log = $1 and partition = any($2::integer[])
