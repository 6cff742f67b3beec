-- How far log $1 ('deliveries' or 'events') goes. One row; takes no lock.
select last_position
from log_head
where log = $1
