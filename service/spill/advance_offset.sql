-- Moves partition $2 of log $1 from offset $3 to $4, and locks its row until the caller commits; changes
-- nothing if it no longer stands at $3. Primary key.
update spill_offset
set next_offset = $4
where log = $1 and partition = $2 and next_offset = $3
