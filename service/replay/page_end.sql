-- The root up to which the next $2 or so roots after $1 go, live and in the shadow, and how many they are; no
-- row at the end. Two walks of primary keys; takes no lock.
select max(root) as root, count(distinct root) as roots
from (
    select root
    from (
        (select root from timeline where root > $1 order by root limit $2)
        union all
        (select root from recibo_shadow.timeline where root > $1 order by root limit $2)
    ) both_sides
    order by root
    limit $2
) page
having count(*) > 0
