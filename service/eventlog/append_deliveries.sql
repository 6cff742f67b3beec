-- Appends a batch to delivery_log through its head row: locks that row until commit, so commit
-- order is position order. One round trip, one fsync; no index but the primary key.
select first_position, clock_ahead
from append_deliveries($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
