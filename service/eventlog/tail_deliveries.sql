-- The next deliveries after position $1, at most $2 rows, and no further row once those before it
-- hold $3 bytes of body. Walks the primary key; takes no lock. octet_length does not fetch the body.
select position, source, account, provider, root, kind, received_at, recorded_at, trust,
       headers ->> 'content-type' as content_type, body, body_sha256
from (
    select d.*,
           sum(octet_length(body)) over (order by position rows unbounded preceding)
               - octet_length(body) as bytes_before
    from (
        select *
        from delivery_log
        where position > $1
        order by position
        limit $2
    ) d
) bounded
where bytes_before < $3
order by position
