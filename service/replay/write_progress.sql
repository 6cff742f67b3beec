-- Notes what is to be rebuilt in the shadow schema. Locks nothing that anybody else wants.
insert into progress (goal, token, folder, last_position, last_mark, vector, since, strip_rows, buckets, phase)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'reading')
