-- Notes that the roots $1 may differ, for the reason $2. Primary key.
insert into excused (root, why)
select distinct r.root, $2
from unnest($1::text[]) as r (root)
on conflict do nothing
