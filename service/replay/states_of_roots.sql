-- All rows of the roots $1, as JSON, in the schema of the search path. Primary keys; takes no lock.
select root, 'order' as what, 0 as ordinal, to_jsonb(t) as state from order_state t where root = any($1::text[])
union all
select root, 'dispute', ordinal, to_jsonb(t) from dispute_state t where root = any($1::text[])
union all
select root, 'subscription', 0, to_jsonb(t) from subscription_state t where root = any($1::text[])
union all
select root, 'withdrawal', 0, to_jsonb(t) from withdrawal_state t where root = any($1::text[])
union all
select root, 'cart', 0, to_jsonb(t) from cart_state t where root = any($1::text[])
order by 1, 2, 3
