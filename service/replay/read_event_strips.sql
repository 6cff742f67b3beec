-- The strips of the outbox that are read, in order. Reads the whole table; takes no lock.
select number, name, size
from event_strip
order by number
