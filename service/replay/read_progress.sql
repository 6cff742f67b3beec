-- What is rebuilt in the shadow schema, and how far it is. One row; takes no lock.
select goal, token, folder, last_position, last_mark, vector, since, strip_rows, buckets, phase
from progress
