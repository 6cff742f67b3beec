-- Gives all partitions of log $1 the generation $2 and the fold version $3; their positions stay. The
-- caller holds the rows. Primary key.
update projector_position
set generation = $2,
    fold_version = $3
where log = $1
