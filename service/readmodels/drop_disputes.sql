-- Removes the disputes of the roots $1 whose ordinal is above the $2 beside it: an undated fact that
-- moved to its earliest instant can join two of them. Primary key.
delete from dispute_state d
using unnest($1::text[], $2::integer[]) as kept (root, ordinals)
where d.root = kept.root and d.ordinal > kept.ordinals
