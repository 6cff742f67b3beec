-- The deliveries of log $1 whose quarantine was told of more than once, or that are neither quarantined nor
-- were retried since. Short tables; takes no lock.
select t.position
from recibo_shadow.told_quarantine t
group by t.position
having count(*) > 1
    or not exists (select from quarantine q where q.log = $1 and q.position = t.position)
       and not exists (select from retried_delivery r where r.log = $1 and r.position = t.position)
order by t.position
limit 100
