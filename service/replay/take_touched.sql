-- Takes up to $1 of the roots that changed since the last comparison. Primary key; a table of ours.
delete from touched
where root in (select root from touched limit $1)
returning root
