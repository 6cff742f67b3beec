-- Makes the table of what differs from the live states; in the shadow schema. `was` and `becomes` are the
-- statuses, null where there is no such row.
create table difference (
    root text not null,
    what text not null,
    ordinal integer not null,
    was text,
    becomes text,
    primary key (root, what, ordinal)
)
