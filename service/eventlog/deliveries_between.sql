-- The deliveries after position $1 up to position $2, at most $3 of them, and no further one once
-- those before it hold $4 bytes of body. Walks the primary key; takes no lock.
select position, source, account, provider, root, kind, trust, instants, body
from (
    select d.*,
           sum(octet_length(body)) over (order by position rows unbounded preceding)
               - octet_length(body) as bytes_before
    from (
        select position, source, account, provider, root, kind, trust,
               timestamptz_send(received_at) || timestamptz_send(recorded_at) as instants, body
        from delivery_log
        where position > $1 and position <= $2
        order by position
        limit $3
    ) d
) bounded
where bytes_before < $4
order by position
