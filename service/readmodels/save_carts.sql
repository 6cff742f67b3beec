-- Writes the cart states in the JSON array $1, whose members are named like the columns. Locks
-- their rows; primary key.
insert into cart_state (
    root, account, cart_id, provider, status, amount_cents, currency, payer_document,
    payer_email, payer_phone, products, recovery_url, abandoned_at, flags, history, facts
)
select
    s.root, s.account, s.cart_id, s.provider, s.status, s.amount_cents, s.currency,
    s.payer ->> 'document', s.payer ->> 'email', s.payer ->> 'phone', s.products,
    s.recovery_url, s.abandoned_at, s.flags, s.history, s.facts
from jsonb_to_recordset($1::jsonb) as s (
    root text, account text, cart_id text, provider text, status text, amount_cents bigint,
    currency text, payer jsonb, products text[], recovery_url text, abandoned_at bigint,
    flags jsonb, history jsonb, facts integer
)
on conflict (root) do update
set account = excluded.account, cart_id = excluded.cart_id, provider = excluded.provider,
    status = excluded.status, amount_cents = excluded.amount_cents,
    currency = excluded.currency, payer_document = excluded.payer_document,
    payer_email = excluded.payer_email, payer_phone = excluded.payer_phone,
    products = excluded.products, recovery_url = excluded.recovery_url,
    abandoned_at = excluded.abandoned_at, flags = excluded.flags, history = excluded.history,
    facts = excluded.facts
