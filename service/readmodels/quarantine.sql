-- Keeps the deliveries at the positions $2 of log $1 aside, each with its reason. Primary key.
insert into quarantine (log, position, partition, source, provider, root, reason, quarantined_at)
select $1, q.position, q.partition, q.source, q.provider, q.root, q.reason, clock_timestamp()
from unnest($2::bigint[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::text[])
    as q (position, partition, source, provider, root, reason)
