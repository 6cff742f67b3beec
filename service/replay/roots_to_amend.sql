-- The roots after $1, at most $2, of which a state differs. Primary key; takes no lock.
select distinct root
from recibo_shadow.difference
where root > $1 and what <> 'timeline'
order by root
limit $2
