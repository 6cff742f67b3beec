-- Makes the one-row table that says what is rebuilt here, and how far it is; in the shadow schema.
create table progress (
    one boolean primary key default true check (one),
    goal jsonb not null,
    token text not null,
    folder text not null,
    last_position bigint not null,
    last_mark text not null,
    vector jsonb not null,
    since jsonb not null,
    strip_rows integer not null,
    buckets integer not null,
    phase text not null,
    started_at timestamptz not null default clock_timestamp()
)
