-- Moves the partitions $2 of log $1 to the positions $3 and offsets $4 beside them. The caller holds
-- their locks. Primary key.
update projector_position p
set position = moved.position,
    kafka_offset = moved.kafka_offset
from unnest($2::integer[], $3::bigint[], $4::bigint[]) as moved (partition, position, kafka_offset)
where p.log = $1 and p.partition = moved.partition
