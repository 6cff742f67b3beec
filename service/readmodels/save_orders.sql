-- Writes the order states in the JSON array $1, whose members are named like the columns. Locks
-- their rows; primary key.
insert into order_state (
    root, account, order_id, provider, status, provider_status, amount_cents, refunded_cents,
    paid_cents, currency, reference, method, channel, payer_document, payer_email, payer_phone,
    products, payments, total_unknown, flags, history, facts
)
select
    s.root, s.account, s.order_id, s.provider, s.status, s.provider_status, s.amount_cents,
    s.refunded_cents, s.paid_cents, s.currency, s.reference, s.method, s.channel,
    s.payer ->> 'document', s.payer ->> 'email', s.payer ->> 'phone', s.products, s.payments,
    s.total_unknown, s.flags, s.history, s.facts
from jsonb_to_recordset($1::jsonb) as s (
    root text, account text, order_id text, provider text, status text, provider_status text,
    amount_cents bigint, refunded_cents bigint, paid_cents bigint, currency text,
    reference text, method text, channel text, payer jsonb, products text[], payments jsonb,
    total_unknown boolean, flags jsonb, history jsonb, facts integer
)
on conflict (root) do update
set account = excluded.account, order_id = excluded.order_id, provider = excluded.provider,
    status = excluded.status, provider_status = excluded.provider_status,
    amount_cents = excluded.amount_cents, refunded_cents = excluded.refunded_cents,
    paid_cents = excluded.paid_cents, currency = excluded.currency,
    reference = excluded.reference, method = excluded.method, channel = excluded.channel,
    payer_document = excluded.payer_document, payer_email = excluded.payer_email,
    payer_phone = excluded.payer_phone, products = excluded.products,
    payments = excluded.payments, total_unknown = excluded.total_unknown,
    flags = excluded.flags, history = excluded.history, facts = excluded.facts
