-- Gives what is quarantined live and in the shadow the instant since which it is. Primary keys.
update recibo_shadow.quarantine s
set quarantined_at = q.quarantined_at
from quarantine q
where q.log = s.log and q.position = s.position
