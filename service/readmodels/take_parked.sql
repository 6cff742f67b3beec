-- Removes the parked root $1 and returns the positions that wait for it, and the reason. Primary key.
delete from parked_root
where root = $1
returning positions, reason
