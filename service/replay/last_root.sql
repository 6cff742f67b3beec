-- The last root of which there is a row, live or in the shadow. One end of each primary key; takes no lock.
select max(root)
from (
    select max(root) as root from timeline
    union all select max(root) from order_state
    union all select max(root) from dispute_state
    union all select max(root) from subscription_state
    union all select max(root) from withdrawal_state
    union all select max(root) from cart_state
    union all select max(root) from recibo_shadow.timeline
) ends
