-- Makes the table of the strips of the log that are read; in the shadow schema.
create table strip (
    number integer primary key,
    counts jsonb not null,
    segments jsonb not null,
    skipped jsonb not null
)
