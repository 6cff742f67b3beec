-- The timelines of the roots $1, in the schema of the search path. Primary key; takes no lock.
select root, document
from timeline
where root = any($1::text[])
