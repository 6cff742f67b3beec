-- The quarantined deliveries of log $1 after position $2, in log order, at most $3. Primary key.
select position, source, provider, root, reason, quarantined_at
from quarantine
where log = $1 and position > $2
order by position
limit $3
