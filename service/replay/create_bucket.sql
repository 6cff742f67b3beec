-- Makes the table of the buckets that are folded; in the shadow schema.
create table bucket (
    number integer primary key,
    counts jsonb not null
)
