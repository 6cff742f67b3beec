-- The refused deliveries after number $1, in order, at most $2; without their bodies. Primary key.
select number, source, provider, sqlstate, refused_at, octet_length(body) as body_bytes
from refused_delivery
where number > $1
order by number
limit $2
