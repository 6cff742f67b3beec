-- Notes what differs between the live and the shadow's rows of the roots after $1 up to $2. `*<>` compares
-- rows byte for byte, which `<>` does not. Walks of primary keys; takes no lock that anybody else wants.
insert into recibo_shadow.difference (root, what, ordinal, was, becomes)
select root, what, ordinal, was, becomes
from (
    select root, 'timeline' as what, 0 as ordinal, case when l.root is not null then 'known' end as was, case when s.root is not null then 'known' end as becomes
    from (select * from timeline where root > $1 and root <= $2) l
    full join (select * from recibo_shadow.timeline where root > $1 and root <= $2) s using (root)
    where l.root is null or s.root is null or l *<> s
    union all
    select root, 'order' as what, 0 as ordinal, l.status as was, s.status as becomes
    from (select * from order_state where root > $1 and root <= $2) l
    full join (select * from recibo_shadow.order_state where root > $1 and root <= $2) s using (root)
    where l.root is null or s.root is null or l *<> s
    union all
    select root, 'dispute' as what, ordinal as ordinal, l.status as was, s.status as becomes
    from (select * from dispute_state where root > $1 and root <= $2) l
    full join (select * from recibo_shadow.dispute_state where root > $1 and root <= $2) s using (root, ordinal)
    where l.root is null or s.root is null or l *<> s
    union all
    select root, 'subscription' as what, 0 as ordinal, l.status as was, s.status as becomes
    from (select * from subscription_state where root > $1 and root <= $2) l
    full join (select * from recibo_shadow.subscription_state where root > $1 and root <= $2) s using (root)
    where l.root is null or s.root is null or l *<> s
    union all
    select root, 'withdrawal' as what, 0 as ordinal, l.status as was, s.status as becomes
    from (select * from withdrawal_state where root > $1 and root <= $2) l
    full join (select * from recibo_shadow.withdrawal_state where root > $1 and root <= $2) s using (root)
    where l.root is null or s.root is null or l *<> s
    union all
    select root, 'cart' as what, 0 as ordinal, l.status as was, s.status as becomes
    from (select * from cart_state where root > $1 and root <= $2) l
    full join (select * from recibo_shadow.cart_state where root > $1 and root <= $2) s using (root)
    where l.root is null or s.root is null or l *<> s
) differing
