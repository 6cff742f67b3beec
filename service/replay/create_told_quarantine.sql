-- Makes the table of the deliveries whose quarantine was told of; in the shadow schema.
create table told_quarantine (
    position bigint not null
)
