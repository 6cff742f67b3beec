-- Every aggregate there is: an order's disputes by ordinal, everything else with ordinal 0. Reads five
-- whole tables, which are small in a demo; no lock.
select 'order' as kind, root, 0 as ordinal, status, amount_cents, refunded_cents, flags, facts
from order_state
union all
select 'dispute', root, ordinal, status, null, null, '[]', facts from dispute_state
union all
select 'withdrawal', root, 0, status, amount_cents, null, flags, facts from withdrawal_state
union all
select 'subscription', root, 0, status, null, null, flags, facts from subscription_state
union all
select 'cart', root, 0, status, amount_cents, null, flags, facts from cart_state
