-- Makes the table of the roots whose ids in the outbox are not those that the log yields, each with the first
-- id that parts them; in the shadow schema.
create table misnamed (
    root text primary key,
    expected text,
    found text
)
