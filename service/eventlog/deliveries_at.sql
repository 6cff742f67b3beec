-- The deliveries at the positions $1, in log order. Walks the primary key; takes no lock.
select position, source, account, provider, root, kind, trust,
       timestamptz_send(received_at) || timestamptz_send(recorded_at) as instants, body
from delivery_log
where position = any($1::bigint[])
order by position
