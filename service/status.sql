-- How far both logs go, how much is set aside, how far each partition is folded
-- and the spill drained. A few rows; no lock.
select (select last_position from log_head where log = 'deliveries') as deliveries,
       (select last_position from log_head where log = 'events') as events,
       (select count(*) from quarantine where log = $1) as quarantined,
       (select count(*) from refused_delivery) as refused,
       (select count(*) from parked_root where log = $1) as parked,
       (select json_object_agg(partition, position) from projector_position where log = $1) as folded,
       (select json_object_agg(partition, next_offset) from spill_offset where log = $1) as drained
