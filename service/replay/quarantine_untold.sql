-- The deliveries of log $1 that are quarantined after the partition's position in $2 and up to that in $3
-- (partition to position, JSON), and were not told of. Short tables; takes no lock.
select q.position
from quarantine q
where q.log = $1
  and q.position > coalesce(($2::jsonb ->> q.partition::text)::bigint, 0)
  and q.position <= coalesce(($3::jsonb ->> q.partition::text)::bigint, 0)
  and not exists (select from recibo_shadow.told_quarantine t where t.position = q.position)
order by q.position
limit 100
