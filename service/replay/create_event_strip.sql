-- Makes the table of the strips of the outbox that are read; in the shadow schema.
create table event_strip (
    number integer primary key,
    name text not null,
    size bigint not null
)
