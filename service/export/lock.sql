-- Takes the right to export to the place $1, for as long as this connection lives: an advisory lock,
-- for two exports into one folder would remove each other's files.
select pg_try_advisory_lock(hashtextextended('recibo export ' || $1, 0))
