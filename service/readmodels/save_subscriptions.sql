-- Writes the subscription states in the JSON array $1, whose members are named like the columns. Locks
-- their rows; primary key.
insert into subscription_state (
    root, account, subscription_id, provider, status, provider_status, reference,
    payer_document, payer_email, payer_phone, flags, history, facts
)
select
    s.root, s.account, s.subscription_id, s.provider, s.status, s.provider_status, s.reference,
    s.payer ->> 'document', s.payer ->> 'email', s.payer ->> 'phone', s.flags, s.history,
    s.facts
from jsonb_to_recordset($1::jsonb) as s (
    root text, account text, subscription_id text, provider text, status text,
    provider_status text, reference text, payer jsonb, flags jsonb, history jsonb,
    facts integer
)
on conflict (root) do update
set account = excluded.account, subscription_id = excluded.subscription_id,
    provider = excluded.provider, status = excluded.status,
    provider_status = excluded.provider_status, reference = excluded.reference,
    payer_document = excluded.payer_document, payer_email = excluded.payer_email,
    payer_phone = excluded.payer_phone, flags = excluded.flags, history = excluded.history,
    facts = excluded.facts
