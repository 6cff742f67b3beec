-- What tells the delivery at position $1 from another log's. Primary key; takes no lock.
select recorded_at, encode(body_sha256, 'hex') as fingerprint
from delivery_log
where position = $1
