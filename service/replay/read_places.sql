-- How far each partition is. Twelve rows; takes no lock.
select partition, reached, folded
from place
