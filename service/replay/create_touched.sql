-- Makes the table of the roots that were folded since the last whole comparison; in the shadow schema.
create table touched (
    root text primary key
)
