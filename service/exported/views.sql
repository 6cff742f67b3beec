-- What is asked of an export, by plain names, on top of the views log, facts_file, quarantine and *_state.
-- Instants are TIMESTAMPTZ; a day is a day somewhere: `occurred_at at time zone 'America/Sao_Paulo'`.

-- An instant without the nanoseconds that TIMESTAMPTZ has no place for. A cast would round it, into the next
-- day if need be, and beyond what had happened by then.
create macro cut(instant) as
make_timestamptz((epoch_ns(instant) - (epoch_ns(instant) % 1000 + 1000) % 1000) // 1000);

-- Every delivery that says something: what it says, when that happened, when it was known here.
create view facts as
select position,
       recorded_at as known_at,
       cut(occurred_at) as occurred_at,
       epoch_ns(occurred_at) as occurred_ns,
       * exclude (position, recorded_at, occurred_at, root_hash)
from facts_file;

-- The history as it was known at an instant: each distinct fact once, as its root's timeline held it then,
-- with the best of the dates received by then, and when it was first known. Not a view with a condition on
-- known_at: a repeat may date a fact better, and until that was received the fact had its former date.
-- `from history_known_at(X) where occurred_at <= Y`: what was known at X of what had happened by Y.
create macro history_known_at(instant) as table
select * exclude (known_at, first_known_at, rank), first_known_at as known_at
from (
    select *,
           min(known_at) over (partition by root, identity) as first_known_at,
           row_number() over (
               partition by root, identity
               order by occurred_text is null, occurred_ns, coalesce(occurred_text, ''), position
           ) as rank
    from facts
    where known_at <= instant
)
where rank = 1;

-- The history as it is known today. Its known_at says since when a fact is known, not since when by this date.
create view history as
from history_known_at('infinity'::timestamptz);

-- What each order was, and from when: the entries of its history.
create view order_history as
select root, account, provider, entry.status as status, cut(entry.began_at) as began_at
from (select root, account, provider, unnest(history) as entry from order_state);

-- What a human should look at.
create view order_flags as
select root, account, provider, entry.name as flag, cut(entry.occurred_at) as occurred_at
from (select root, account, provider, unnest(flags) as entry from order_state);

-- Carts followed within 7 days by a paid sale of the same payer and product. Joined by each hash alone:
-- with `or` every cart would be compared with every order.
create view cart_recovery as
with sale as (
    select * from order_state where provider = 'aprovei'
),
pair as (
    select c.root as cart_root, o.root as order_root
    from cart_state c join sale o on o.account = c.account and o.payer_document = c.payer_document
    union
    select c.root, o.root
    from cart_state c join sale o on o.account = c.account and o.payer_email = c.payer_email
    union
    select c.root, o.root
    from cart_state c join sale o on o.account = c.account and o.payer_phone = c.payer_phone
),
paid as (
    select pair.cart_root,
           pair.order_root,
           c.account,
           c.abandoned_at,
           list_min([
               entry.began_at for entry in o.history
               if entry.status = 'paid'
               and epoch_ns(entry.began_at) - epoch_ns(c.abandoned_at) between 0 and 604800000000000
           ]) as paid_at,
           o.amount_cents,
           o.currency
    from pair
    join cart_state c on c.root = pair.cart_root
    join sale o on o.root = pair.order_root
    where list_has_any(o.products, c.products)
)
select cart_root, order_root, account, cut(abandoned_at) as abandoned_at,
       cut(paid_at) as paid_at, amount_cents, currency
from paid
where paid_at is not null;
