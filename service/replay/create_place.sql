-- Makes the table of how far each partition is in the shadow; in the shadow schema. Every row of the
-- partition up to `reached` is folded, none after `folded` is.
create table place (
    partition integer primary key,
    reached bigint not null,
    folded bigint not null
)
