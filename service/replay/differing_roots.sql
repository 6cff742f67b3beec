-- The roots after $1, at most $2, of which something differs that no retry explains. Primary keys; takes no
-- lock.
select distinct d.root
from recibo_shadow.difference d
where d.root > $1
  and not exists (select from recibo_shadow.excused e where e.root = d.root)
order by d.root
limit $2
