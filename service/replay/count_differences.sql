-- How many roots differ, and how many of them a retry would mend. A walk of the table; takes no lock.
select count(distinct d.root) filter (where e.root is null) as different,
       (select count(*) from recibo_shadow.excused where why = 'to retry') as to_retry,
       (select count(*) from recibo_shadow.excused where why = 'parked') as parked,
       (select count(*) from recibo_shadow.timeline) as roots
from recibo_shadow.difference d
left join recibo_shadow.excused e on e.root = d.root
