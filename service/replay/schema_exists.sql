-- Whether there is a schema $1. Reads the catalogue; takes no lock.
select to_regnamespace(quote_ident($1)) is not null
