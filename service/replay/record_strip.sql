-- Notes that the strip $1 of the log is read and its facts are on disk. Primary key: whoever else read it
-- meanwhile loses.
insert into strip (number, counts, segments, skipped)
values ($1, $2, $3, $4)
