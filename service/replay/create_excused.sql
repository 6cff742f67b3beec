-- Makes the table of the roots whose difference a retry would mend; in the shadow schema.
create table excused (
    root text primary key,
    why text not null
)
