-- The deliveries that the last swap took in. Reads the whole table; takes no lock.
select position
from taken_over
