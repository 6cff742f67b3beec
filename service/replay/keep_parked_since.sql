-- Gives what is parked live and in the shadow the instant since which it is. Primary keys.
update recibo_shadow.parked_root s
set parked_at = p.parked_at
from parked_root p
where p.root = s.root and p.log = s.log
