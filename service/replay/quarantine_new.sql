-- The deliveries of log $1 that were read live and cannot be read today, at most $2. Primary keys; takes no
-- lock.
select position, root, reason
from recibo_shadow.quarantine s
where log = $1
  and not exists (select from quarantine q where q.log = s.log and q.position = s.position)
order by position
limit $2
