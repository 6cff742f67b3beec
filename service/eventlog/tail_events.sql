-- The next events after position $1, at most $2 rows, and no further row once those before it hold
-- $3 bytes of value. Walks the primary key; takes no lock. octet_length does not fetch the value.
select position, recorded_at, topic, key, partition_key, event_id, headers, value
from (
    select e.*,
           sum(coalesce(octet_length(value), 0)) over (order by position rows unbounded preceding)
               - coalesce(octet_length(value), 0) as bytes_before
    from (
        select *
        from event_log
        where position > $1
        order by position
        limit $2
    ) e
) bounded
where bytes_before < $3
order by position
