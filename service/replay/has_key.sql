-- Whether the table $2 of schema $1 has its primary key: then it has all of its indexes, made in one transaction.
select exists (
    select from pg_constraint k
    join pg_class c on c.oid = k.conrelid
    where c.relnamespace = $1::text::regnamespace and c.relname = $2 and k.contype = 'p'
)
