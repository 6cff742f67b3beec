-- Sets one delivery aside in refused_delivery, in the caller's transaction. Locks nothing that others want.
select refuse_delivery($1, $2, $3, $4, $5, $6, $7, $8, $9)
