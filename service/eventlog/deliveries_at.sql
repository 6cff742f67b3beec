-- The deliveries at the positions $1, in log order. Walks the primary key; takes no lock.
select position, source, account, provider, root, kind, received_at, recorded_at, trust, body
from delivery_log
where position = any($1::bigint[])
order by position
