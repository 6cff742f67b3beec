-- Why:  what the deliveries mean, derived by the projector and rebuilt by replay at any time; and
--       the generations, which cannot be rebuilt.
-- Lock: creates objects only.
-- Beside: nothing; this is the first release.

-- Instants inside states are nanoseconds since the epoch, UTC: Barte sends nine digits, and a
-- timestamptz would cut them.

create table generation (
    number integer not null,
    swapped_at timestamptz not null,
    positions jsonb not null,
    primary key (number, swapped_at)
);
comment on table generation is
    'Each swap, with the log position of every partition at which it happened. Kept with the log.';
insert into generation values (1, clock_timestamp(), '{}');
create trigger append_only before update or delete on generation
    for each row execute function refuse_change();
create trigger no_truncate before truncate on generation
    for each statement execute function refuse_change();

create table projector_position (
    log text not null,
    partition integer not null,
    position bigint not null,
    kafka_offset bigint not null,
    generation integer not null,
    fold_version text not null,
    primary key (log, partition)
) with (fillfactor = 50);
comment on table projector_position is
    'How far each partition is folded: the log position decides, the Kafka offset is a hint.';

create table timeline (
    root text primary key,
    partition integer not null,
    facts integer not null,
    document bytea not null
) with (fillfactor = 80);
comment on table timeline is 'The distinct facts of each root, sorted, as JSON; states derive from it.';

create table order_state (
    root text primary key,
    account text not null,
    order_id text not null,
    provider text not null,
    status text not null,
    provider_status text not null,
    amount_cents bigint,
    refunded_cents bigint,
    paid_cents bigint,
    currency text not null,
    reference text,
    method text,
    channel text,
    payer_document text,
    payer_email text,
    payer_phone text,
    products text[],
    payments jsonb,
    total_unknown boolean not null,
    flags jsonb not null,
    history jsonb not null,
    facts integer not null
) with (fillfactor = 80);

create table dispute_state (
    root text not null,
    ordinal integer not null,
    account text not null,
    subject text not null,
    provider text not null,
    status text not null,
    reason text,
    opened_at bigint not null,
    ended_at bigint,
    decided_at bigint,
    history jsonb not null,
    facts integer not null,
    primary key (root, ordinal)
) with (fillfactor = 80);

create table subscription_state (
    root text primary key,
    account text not null,
    subscription_id text not null,
    provider text not null,
    status text not null,
    provider_status text not null,
    reference text,
    payer_document text,
    payer_email text,
    payer_phone text,
    flags jsonb not null,
    history jsonb not null,
    facts integer not null
) with (fillfactor = 80);

create table withdrawal_state (
    root text primary key,
    account text not null,
    withdrawal_id text not null,
    provider text not null,
    status text not null,
    provider_status text not null,
    amount_cents bigint,
    currency text not null,
    reference text,
    flags jsonb not null,
    history jsonb not null,
    facts integer not null
) with (fillfactor = 80);

create table cart_state (
    root text primary key,
    account text not null,
    cart_id text not null,
    provider text not null,
    status text not null,
    amount_cents bigint,
    currency text not null,
    payer_document text,
    payer_email text,
    payer_phone text,
    products text[],
    recovery_url text,
    abandoned_at bigint not null,
    flags jsonb not null,
    history jsonb not null,
    facts integer not null
) with (fillfactor = 80);

create table quarantine (
    log text not null,
    position bigint not null,
    partition integer not null,
    source text not null,
    provider text not null,
    root text,
    reason text not null,
    quarantined_at timestamptz not null,
    primary key (log, position)
);
comment on table quarantine is 'Deliveries that the code cannot interpret yet, each with the reason.';

create table parked_root (
    root text primary key,
    log text not null,
    partition integer not null,
    positions bigint[] not null,
    reason text not null,
    parked_at timestamptz not null
);
comment on table parked_root is
    'Roots whose fold fails or whose rows Postgres refuses; their deliveries wait here, in log order.';

-- A cart is recovered when an Aprovei sale of the same account that shares a payer hash and a
-- product with it was paid within seven days after it. It joins two roots, so it is a view: no
-- fact, no event.
create view cart_recovery as
select c.root as cart_root,
       o.root as order_root,
       c.account,
       c.abandoned_at,
       p.paid_at,
       o.amount_cents,
       o.currency
from cart_state c
join order_state o
    on o.account = c.account
   and o.provider = 'aprovei'
   and o.products && c.products
   and (o.payer_document = c.payer_document
        or o.payer_email = c.payer_email
        or o.payer_phone = c.payer_phone)
cross join lateral (
    select min((entry ->> 'began_at')::bigint) as paid_at
    from jsonb_array_elements(o.history) as entry
    where entry ->> 'status' = 'paid'
      and (entry ->> 'began_at')::bigint >= c.abandoned_at
      and (entry ->> 'began_at')::bigint <= c.abandoned_at + 604800000000000
) p
where p.paid_at is not null;
comment on view cart_recovery is 'Carts followed within 7 days by a paid sale of the same payer and product.';

create index order_state_payer_document on order_state (payer_document) where payer_document is not null and provider = 'aprovei';
create index order_state_payer_email on order_state (payer_email) where payer_email is not null and provider = 'aprovei';
create index order_state_payer_phone on order_state (payer_phone) where payer_phone is not null and provider = 'aprovei';

grant select on generation to recibo_service;
grant select, insert, update on projector_position to recibo_service;
grant select, insert, update, delete on
    timeline, order_state, dispute_state, subscription_state, withdrawal_state, cart_state,
    quarantine, parked_root
to recibo_service;
grant select on cart_recovery to recibo_service;
grant select on schema_migration to recibo_service;
