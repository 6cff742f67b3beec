-- Writes the withdrawal states in the JSON array $1, whose members are named like the columns. Locks
-- their rows; primary key.
insert into withdrawal_state (
    root, account, withdrawal_id, provider, status, provider_status, amount_cents, currency,
    reference, flags, history, facts
)
select
    s.root, s.account, s.withdrawal_id, s.provider, s.status, s.provider_status,
    s.amount_cents, s.currency, s.reference, s.flags, s.history, s.facts
from jsonb_to_recordset($1::jsonb) as s (
    root text, account text, withdrawal_id text, provider text, status text,
    provider_status text, amount_cents bigint, currency text, reference text, flags jsonb,
    history jsonb, facts integer
)
on conflict (root) do update
set account = excluded.account, withdrawal_id = excluded.withdrawal_id,
    provider = excluded.provider, status = excluded.status,
    provider_status = excluded.provider_status, amount_cents = excluded.amount_cents,
    currency = excluded.currency, reference = excluded.reference, flags = excluded.flags,
    history = excluded.history, facts = excluded.facts
