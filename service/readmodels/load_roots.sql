-- The stored timelines of the roots $1 and whether each is parked. Primary keys; takes no lock: the
-- caller holds the position row of their partition, so nobody else folds them meanwhile.
select wanted.root, t.document, p.root is not null as parked
from unnest($1::text[]) as wanted (root)
left join timeline t on t.root = wanted.root
left join parked_root p on p.root = wanted.root
