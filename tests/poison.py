"""Deliveries that Postgres refuses, whatever they hold: a trigger stands for what nobody thought of."""

MARK = b"poisoned"

POISON = """
create function poison() returns trigger language plpgsql as $$
begin
    if position('poisoned'::bytea in new.body) > 0 then
        raise sqlstate '{sqlstate}' using message = 'a value of the row';
    end if;
    return new;
end
$$;
create trigger poison before insert on delivery_log for each row execute function poison();
"""
"""Refuses each row of the log that holds the mark, and no other."""

EVERY_ROW = """
create function poison() returns trigger language plpgsql as $$
begin raise sqlstate '{sqlstate}' using message = 'any row'; end
$$;
create trigger poison before insert on {table} for each row execute function poison();
"""
"""Refuses every row of a table."""

HEAD_BEHIND = """
set session_replication_role = replica;
update log_head set last_position = last_position - 1 where log = 'deliveries';
set session_replication_role = origin
"""
"""The head row as after a restore of it without its table: the next position is taken."""
