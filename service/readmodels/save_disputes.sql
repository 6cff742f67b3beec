-- Writes the dispute states in the JSON array $1, whose members are named like the columns. Locks
-- their rows; primary key.
insert into dispute_state (
    root, ordinal, account, subject, provider, status, reason, opened_at, ended_at, decided_at,
    history, facts
)
select
    s.root, s.ordinal, s.account, s.subject, s.provider, s.status, s.reason, s.opened_at,
    s.ended_at, s.decided_at, s.history, s.facts
from jsonb_to_recordset($1::jsonb) as s (
    root text, ordinal integer, account text, subject text, provider text, status text,
    reason text, opened_at bigint, ended_at bigint, decided_at bigint, history jsonb,
    facts integer
)
on conflict (root, ordinal) do update
set account = excluded.account, subject = excluded.subject, provider = excluded.provider,
    status = excluded.status, reason = excluded.reason, opened_at = excluded.opened_at,
    ended_at = excluded.ended_at, decided_at = excluded.decided_at, history = excluded.history,
    facts = excluded.facts
