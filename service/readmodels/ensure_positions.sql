-- Makes the rows of the partitions $2 of log $1 that do not exist yet, at the start of the log, in
-- the newest generation, with the fold version $3. Primary key.
insert into projector_position (log, partition, position, kafka_offset, generation, fold_version)
select $1, p.partition, 0, 0, (select max(number) from generation), $3
from unnest($2::integer[]) as p (partition)
on conflict do nothing
