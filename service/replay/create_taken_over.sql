-- Makes the table of the deliveries that the last swap took in, which nobody told; in the shadow schema.
create table taken_over (
    position bigint primary key
)
