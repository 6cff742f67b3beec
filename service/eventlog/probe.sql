-- Changes nothing, durably: locks the head row of the deliveries, writes it as it is, commits. Fails
-- wherever an append would: in recovery, read-only, behind a lock, at a commit that does not end.
select probe_deliveries()
