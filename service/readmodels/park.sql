-- Parks the root $1, or adds the positions $4 to those that wait for it already. Primary key.
insert into parked_root (root, log, partition, positions, reason, parked_at)
values ($1, $2, $3, $4, $5, clock_timestamp())
on conflict (root) do update
set positions = parked_root.positions || excluded.positions
