-- The deliveries after position $1 up to position $2 whose bodies have at most $3 bytes. Walks the primary
-- key; takes no lock.
select position, source, account, provider, root, kind, trust,
       timestamptz_send(received_at) || timestamptz_send(recorded_at) as instants, body
from delivery_log
where position > $1 and position <= $2 and octet_length(body) <= $3
order by position
