-- Tells of the delivery at position $2 of log $1, still in quarantine, the reason $3. Primary key.
update quarantine
set reason = $3
where log = $1 and position = $2
