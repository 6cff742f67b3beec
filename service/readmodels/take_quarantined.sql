-- Removes the delivery at position $2 of log $1 from the quarantine. Primary key.
delete from quarantine
where log = $1 and position = $2
