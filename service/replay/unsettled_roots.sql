-- The roots after $1, at most $3, that changed since the last whole comparison: in the shadow, or live by a
-- retry of log $2. Primary key, and the whole of retried_delivery, which is short.
select root
from (
    select root from recibo_shadow.touched
    union
    select root from retried_delivery where log = $2
) changed
where root > $1
order by root
limit $3
