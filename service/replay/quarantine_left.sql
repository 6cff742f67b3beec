-- The deliveries of log $1 after position $2, at most $3, that are quarantined live and read today. Primary
-- keys; takes no lock.
select position
from quarantine q
where log = $1 and position > $2
  and not exists (
      select from recibo_shadow.quarantine s where s.log = q.log and s.position = q.position
  )
order by position
limit $3
