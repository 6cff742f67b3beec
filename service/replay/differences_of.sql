-- What differs of the states of the roots $1. Primary key; takes no lock.
select root, what, ordinal, was
from recibo_shadow.difference
where root = any($1::text[]) and what <> 'timeline'
order by root, what, ordinal
