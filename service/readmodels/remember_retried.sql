-- Remembers that the deliveries at the positions $3 of log $1 were folded into the root $2 by a retry.
-- Primary key.
insert into retried_delivery (log, position, root, retried_at)
select $1, p.position, $2, clock_timestamp()
from unnest($3::bigint[]) as p (position)
on conflict (log, position) do update
set root = excluded.root,
    retried_at = excluded.retried_at
