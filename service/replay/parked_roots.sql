-- The roots of log $1 that are parked, live, in the shadow, or in both. Two short tables; takes no lock.
select root, l.root is not null as live, s.root is not null as shadow,
       coalesce(s.reason, l.reason) as reason
from (select * from parked_root where log = $1) l
full join (select * from recibo_shadow.parked_root where log = $1) s using (root)
order by root
