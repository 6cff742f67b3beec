-- The deliveries after position $1 up to position $2, at most $4, whose row has one of the roots $3, or none:
-- today one of these may be read in it. Reads that stretch of the log; takes no lock.
select position, source, account, provider, root, kind, trust,
       timestamptz_send(received_at) || timestamptz_send(recorded_at) as instants, body
from delivery_log
where position > $1 and position <= $2
  and (root = any($3::text[]) or root is null)
order by position
limit $4
