-- Forgets what was found of the roots $1, to compare them again. Primary key.
delete from difference
where root = any($1::text[])
