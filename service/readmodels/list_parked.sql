-- The parked roots, those that wait longest first. Reads the whole table: it is short, or on fire.
select root, positions, reason, parked_at
from parked_root
where log = $1
order by parked_at, root
