-- Takes the lowest free number from $3 to $4 among the projectors of log $2, by an advisory lock in the space $1 that
-- the session holds; no row where all are taken. The filter is asked number by number, until the first is free.
select number
from generate_series($3::integer, $4::integer) as number
where pg_try_advisory_lock($1, hashtext($2 || '/' || number))
limit 1
