-- Makes the rows of the partitions $2 of log $1 that do not exist yet, at the positions $3 beside them,
-- in the newest generation, with the fold version $4. The offset, a hint, is the start. Primary key.
insert into projector_position (log, partition, position, kafka_offset, generation, fold_version)
select $1, p.partition, p.position, 0, (select max(number) from generation), $4
from unnest($2::integer[], $3::bigint[]) as p (partition, position)
on conflict do nothing
