-- The first delivery after position $1 up to position $2 whose body is not what its digest says; null
-- without. Reads that stretch of the log; takes no lock.
select min(position)
from delivery_log
where position > $1 and position <= $2
  and sha256(body) <> body_sha256
