-- How many roots have other ids in the outbox than the log yields, that no retry since the last swap
-- explains, and the first $1 of them. Primary keys, and two short tables; takes no lock.
select count(*) over () as roots, m.root, m.expected, m.found
from recibo_shadow.misnamed m
where not exists (select from recibo_shadow.excused e where e.root = m.root)
  and not exists (select from retried_delivery r where r.root = m.root)
  and not exists (select from parked_root p where p.root = m.root)
  and not exists (select from recibo_shadow.parked_root p where p.root = m.root)
order by m.root
limit $1
