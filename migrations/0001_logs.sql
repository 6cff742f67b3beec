-- Why:  the two logs, what providers said (deliveries) and what we concluded (events), of one shape:
--       a head row that is lock and counter at once, dense positions in commit order, append only.
-- Lock: creates objects only.
-- Beside: nothing; this is the first release.

do $$
begin
    create role recibo_service nologin;
exception
    -- Roles belong to the cluster: another database of it, or one migrating now, may have made it.
    when duplicate_object or unique_violation then null;
end
$$;

do $$
begin
    -- SET, not mere membership: an owner that made the role with CREATEROLE is a member without it.
    if not pg_has_role(current_user, 'recibo_service', 'set') then
        execute format('grant recibo_service to %I', current_user);
    end if;
end
$$;

-- The head row of each log. Its lock orders the appends, its counter makes positions dense: a
-- batch that rolls back gives its positions back. Narrow and with room, so that updates stay HOT.
create table log_head (
    log text primary key check (log in ('deliveries', 'events')),
    last_position bigint not null,
    last_recorded_at timestamptz not null,
    partition_rows bigint not null check (partition_rows > 0)
) with (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

insert into log_head (log, last_position, last_recorded_at, partition_rows)
values ('deliveries', 0, '2000-01-01 00:00:00+00', 10000000),
       ('events', 0, '2000-01-01 00:00:00+00', 10000000);

create table delivery_log (
    position bigint primary key,
    source text not null,
    account text not null,
    provider text not null,
    root text,
    kind text,
    received_at timestamptz not null,
    recorded_at timestamptz not null,
    trust text not null,
    remote_ip text,
    headers jsonb not null,
    body bytea not null,
    body_sha256 bytea not null
) partition by range (position);

create table event_log (
    position bigint primary key,
    recorded_at timestamptz not null,
    topic text not null,
    key text not null,
    partition_key text not null,
    event_id text not null,
    headers jsonb not null,
    value bytea
) partition by range (position);

comment on table delivery_log is 'Every delivery as it arrived, duplicates too. The truth.';
comment on table event_log is 'The outbox: every record for Kafka, written with the state it tells of.';
comment on column event_log.topic is 'Without the configured prefix.';
comment on column event_log.partition_key is 'The root: murmur2 of it, modulo the partitions, is the partition.';
comment on column event_log.value is 'Null: a tombstone on a compacted topic.';

-- The ranges that exist, in order; rows of a range that was not made in time are in the default.
create table log_partition (
    log text not null references log_head (log),
    first_position bigint not null,
    end_position bigint not null check (end_position > first_position),
    primary key (log, first_position)
);

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: % refused', tg_table_name, tg_op
        using errcode = 'insufficient_privilege';
end
$$;

-- Row triggers are cloned to every partition, also one attached later. TRUNCATE triggers are not,
-- and the parent's does not fire for TRUNCATE of a partition: each gets its own below.
create trigger append_only before update or delete on delivery_log
    for each row execute function refuse_change();
create trigger append_only before update or delete on event_log
    for each row execute function refuse_change();
create trigger no_truncate before truncate on delivery_log
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on event_log
    for each statement execute function refuse_change();

create table delivery_log_default partition of delivery_log default;
create table event_log_default partition of event_log default;
create trigger no_truncate before truncate on delivery_log_default
    for each statement execute function refuse_change();
create trigger no_truncate before truncate on event_log_default
    for each statement execute function refuse_change();

-- Make partitions until `ahead` whole ones lie beyond the head; returns how many were made.
--
-- Runs as the owner, for the service may not create tables. Holds the head row, so no append can
-- put rows into the default partition between the look and the attach; gives up after a second if
-- a reader of the default partition is in the way, for appends wait behind it.
create function ensure_partitions(which text, ahead integer) returns integer
language plpgsql security definer set search_path from current set lock_timeout = '1s' as $$
declare
    parent text := case which when 'deliveries' then 'delivery_log' when 'events' then 'event_log' end;
    head log_head;
    first bigint;
    stray bigint;
    child text;
    made integer := 0;
begin
    if parent is null then
        raise exception 'no such log: %', which using errcode = 'invalid_parameter_value';
    end if;
    -- Look before locking: nearly every call finds nothing to do.
    select * into head from log_head where log = which;
    select coalesce(max(end_position), 1) into first from log_partition where log = which;
    if first > head.last_position + ahead * head.partition_rows then
        return 0;
    end if;
    select * into head from log_head where log = which for update;
    loop
        select coalesce(max(end_position), 1) into first from log_partition where log = which;
        exit when first > head.last_position + ahead * head.partition_rows;
        -- Rows that fell into the default partition stay there; the ranges resume after them.
        execute format('select max(position) from %I', parent || '_default') into stray;
        first := greatest(first, coalesce(stray, 0) + 1);
        child := format('%s_%s', parent, lpad(first::text, 19, '0'));
        execute format('create table %I (like %I including all)', child, parent);
        execute format(
            'create trigger no_truncate before truncate on %I for each statement execute function refuse_change()',
            child);
        execute format(
            'alter table %I attach partition %I for values from (%s) to (%s)',
            parent, child, first, first + head.partition_rows);
        insert into log_partition values (which, first, first + head.partition_rows);
        made := made + 1;
    end loop;
    return made;
end
$$;

-- Append deliveries: one round trip, one transaction, dense positions in commit order.
--
-- recorded_at is taken here and not passed in, for several ingresses share this one clock; it is
-- later than the last, so an instant maps to one position. clock_ahead tells by how much the log's
-- time runs ahead of this server's clock: over a minute, a clock went astray.
create function append_deliveries(
    sources text[], accounts text[], providers text[], roots text[], kinds text[],
    received_ats timestamptz[], trusts text[], remote_ips text[], headers jsonb[],
    bodies bytea[], digests bytea[],
    out first_position bigint, out recorded_at timestamptz, out clock_ahead interval)
language plpgsql as $$
declare
    added constant integer := cardinality(bodies);
begin
    update log_head h
    set last_position = h.last_position + added,
        last_recorded_at = greatest(clock_timestamp(), h.last_recorded_at + interval '1 microsecond')
    where h.log = 'deliveries'
    returning h.last_position - added + 1, h.last_recorded_at, h.last_recorded_at - clock_timestamp()
    into first_position, recorded_at, clock_ahead;

    insert into delivery_log
    select append_deliveries.first_position + r.ordinality - 1,
           r.source, r.account, r.provider, r.root, r.kind, r.received_at,
           append_deliveries.recorded_at, r.trust, r.remote_ip, r.headers, r.body, r.digest
    from unnest(sources, accounts, providers, roots, kinds, received_ats, trusts, remote_ips,
                append_deliveries.headers, bodies, digests) with ordinality
         as r (source, account, provider, root, kind, received_at, trust, remote_ip, headers,
               body, digest, ordinality);

    perform pg_notify('recibo_deliveries', '');
end
$$;

-- Append events, inside the projector's transaction and last in it: the head row is everyone's.
create function append_events(
    topics text[], keys text[], partition_keys text[], event_ids text[], headers jsonb[],
    event_values bytea[],
    out first_position bigint, out recorded_at timestamptz)
language plpgsql as $$
declare
    added constant integer := cardinality(event_ids);
begin
    update log_head h
    set last_position = h.last_position + added,
        last_recorded_at = greatest(clock_timestamp(), h.last_recorded_at + interval '1 microsecond')
    where h.log = 'events'
    returning h.last_position - added + 1, h.last_recorded_at into first_position, recorded_at;

    insert into event_log
    select append_events.first_position + r.ordinality - 1, append_events.recorded_at,
           r.topic, r.key, r.partition_key, r.event_id, r.headers, r.value
    from unnest(topics, keys, partition_keys, event_ids, append_events.headers, event_values)
         with ordinality as r (topic, key, partition_key, event_id, headers, value, ordinality);

    perform pg_notify('recibo_events', '');
end
$$;

do $$
begin
    perform ensure_partitions('deliveries', 3);
    perform ensure_partitions('events', 3);
end
$$;

do $$
begin
    execute format('grant usage on schema %I to recibo_service', current_schema());
end
$$;
grant select, insert on delivery_log, event_log to recibo_service;
grant select, update on log_head to recibo_service;
grant select on log_partition to recibo_service;
revoke execute on function ensure_partitions(text, integer) from public;
grant execute on function ensure_partitions(text, integer) to recibo_service;
