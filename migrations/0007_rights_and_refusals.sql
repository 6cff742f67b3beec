-- Why:  the service's role could act as the tables' owner: ensure_partitions, SECURITY DEFINER, looked for
--       names in the caller's temporary tables first. And it could write the logs past the functions that
--       keep them dense. And one row that Postgres refuses had no place, so it kept others from theirs. And making a
--       partition held the head row while it waited for readers of the default partition.
-- Lock: creates or replaces functions; changes rights, and holds the head rows, for a moment.
-- Beside: the releases before it append by the same functions and go on; only their probe, an UPDATE of the
--       head row, is refused, so an ingress of theirs that has switched to the spill stays there.

-- Deliveries that the log cannot hold: those of which Postgres refuses a value, while it takes others.
create table refused_delivery (
    number bigint generated always as identity primary key,
    source text not null,
    account text not null,
    provider text not null,
    kind text,
    received_at timestamptz not null,
    refused_at timestamptz not null default clock_timestamp(),
    trust text not null,
    sqlstate text not null,
    body bytea not null,
    body_sha256 bytea not null
);
comment on table refused_delivery is
    'Deliveries that Postgres refuses as rows of delivery_log, each by itself. They have a receipt and no position.';
comment on column refused_delivery.number is 'Of the receipt refused-<number>; not dense.';
comment on column refused_delivery.source is 'The endpoint that it came to.';
comment on column refused_delivery.account is 'Whose roots it is about.';
comment on column refused_delivery.provider is 'Whose format it is in.';
comment on column refused_delivery.kind is 'The marker in the URL.';
comment on column refused_delivery.received_at is 'The clock of the ingress.';
comment on column refused_delivery.refused_at is 'When it was set aside.';
comment on column refused_delivery.trust is 'The checks that the sender passed.';
comment on column refused_delivery.sqlstate is 'Why: the error of Postgres.';
comment on column refused_delivery.body is 'The exact bytes.';
comment on column refused_delivery.body_sha256 is 'Of the body.';
create trigger append_only before update or delete on refused_delivery
    for each row execute function refuse_change();
create trigger no_truncate before truncate on refused_delivery
    for each statement execute function refuse_change();
grant select on refused_delivery to recibo_service;

-- Every function that runs as its owner has `search_path = pg_catalog, pg_temp` and names each table with its
-- schema, which is the one that this migration runs in. So nothing is found that a caller could have made:
-- pg_temp comes last for tables, and functions and operators are not looked for in it at all.
do $migration$
declare
    here constant text := quote_ident(current_schema());
begin
    -- Append deliveries: one round trip, one transaction, dense positions in commit order.
    --
    -- recorded_at is taken here and not passed in, because several ingresses share this one clock; it is
    -- later than the last, so an instant maps to one position. clock_ahead tells by how much the log's
    -- time runs ahead of this server's clock: over a minute, a clock went astray.
    execute replace($definition$
create or replace function @.append_deliveries(
    sources text[], accounts text[], providers text[], roots text[], kinds text[],
    received_ats timestamptz[], trusts text[], remote_ips text[], headers jsonb[],
    bodies bytea[], digests bytea[],
    out first_position bigint, out recorded_at timestamptz, out clock_ahead interval)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    added constant integer := cardinality(bodies);
begin
    update @.log_head h
    set last_position = h.last_position + added,
        last_recorded_at = greatest(clock_timestamp(), h.last_recorded_at + interval '1 microsecond')
    where h.log = 'deliveries'
    returning h.last_position - added + 1, h.last_recorded_at, h.last_recorded_at - clock_timestamp()
    into first_position, recorded_at, clock_ahead;

    insert into @.delivery_log
    select append_deliveries.first_position + r.ordinality - 1,
           r.source, r.account, r.provider, r.root, r.kind, r.received_at,
           append_deliveries.recorded_at, r.trust, r.remote_ip, r.headers, r.body, r.digest
    from unnest(sources, accounts, providers, roots, kinds, received_ats, trusts, remote_ips,
                append_deliveries.headers, bodies, digests) with ordinality
         as r (source, account, provider, root, kind, received_at, trust, remote_ip, headers,
               body, digest, ordinality);

    perform pg_notify('recibo_deliveries', '');
end
$$
    $definition$, '@', here);

    -- Append events, inside the projector's transaction and last in it: the head row is everyone's.
    execute replace($definition$
create or replace function @.append_events(
    topics text[], keys text[], partition_keys text[], event_ids text[], headers jsonb[],
    event_values bytea[],
    out first_position bigint, out recorded_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    added constant integer := cardinality(event_ids);
begin
    update @.log_head h
    set last_position = h.last_position + added,
        last_recorded_at = greatest(clock_timestamp(), h.last_recorded_at + interval '1 microsecond')
    where h.log = 'events'
    returning h.last_position - added + 1, h.last_recorded_at into first_position, recorded_at;

    insert into @.event_log
    select append_events.first_position + r.ordinality - 1, append_events.recorded_at,
           r.topic, r.key, r.partition_key, r.event_id, r.headers, r.value
    from unnest(topics, keys, partition_keys, event_ids, append_events.headers, event_values)
         with ordinality as r (topic, key, partition_key, event_id, headers, value, ordinality);

    perform pg_notify('recibo_events', '');
end
$$
    $definition$, '@', here);

    -- Set one delivery aside that the log refuses; returns its number there.
    execute replace($definition$
create function @.refuse_delivery(
    source text, account text, provider text, kind text, received_at timestamptz, trust text,
    sqlstate text, body bytea, body_sha256 bytea)
returns bigint
language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into @.refused_delivery
        (source, account, provider, kind, received_at, trust, sqlstate, body, body_sha256)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    returning number
$$
    $definition$, '@', here);

    -- Change nothing, durably: lock the head row of the deliveries, write it as it is. Fails wherever an
    -- append would fail.
    execute replace($definition$
create function @.probe_deliveries() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update @.log_head set last_position = last_position where log = 'deliveries';
end
$$
    $definition$, '@', here);

    -- Where the next partition of a log begins: right after the last one. Where the head has come near that,
    -- or is past it, further on: no append may get there while the partition is being made. What lies between
    -- stays in the default partition.
    execute replace($definition$
create function @.next_partition(which text, out first bigint, out head bigint, out rows bigint)
language sql stable as $$
    select case
               when last.position > h.last_position + margin.rows then last.position
               else (h.last_position / margin.rows + 3) * margin.rows + 1
           end,
           h.last_position,
           h.partition_rows
    from @.log_head h
    cross join lateral (select least(h.partition_rows, 5000000) as rows) margin
    cross join lateral (
        select coalesce(max(p.end_position), 1) as position from @.log_partition p where p.log = h.log
    ) last
    where h.log = which
$$
    $definition$, '@', here);

    -- Make partitions until `ahead` whole ones lie beyond the head; returns how many were made, or null where
    -- rows in the default partition have to be told apart first (exclude_from_default).
    --
    -- Takes the default partition first, for it is what readers hold, and takes it at once or not at all, so
    -- nobody waits behind a wait. The head row is not touched: no append comes near these ranges.
    execute replace($definition$
create or replace function @.ensure_partitions(which text, ahead integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    parent constant text := @.log_table(which);
    spare constant text := parent || '_default';
    upcoming record;
    child text;
    strays boolean;
    made integer := 0;
begin
    -- Look before locking: nearly every call finds nothing to do.
    select * into upcoming from @.next_partition(which);
    if upcoming.first > upcoming.head + ahead * upcoming.rows then
        return 0;
    end if;
    -- Each relay looks, the ones that stand by too: one of them makes what is missing.
    if not pg_try_advisory_xact_lock(hashtext('recibo ' || spare)) then
        return 0;
    end if;
    execute format('lock table @.%I in access exclusive mode nowait', spare);
    select * into upcoming from @.next_partition(which);
    execute format('select exists (select from @.%I)', spare) into strays;
    if strays and not exists (
        select from pg_constraint
        where conrelid = format('@.%I', spare)::regclass and convalidated
          and conname = format('none_from_%s', upcoming.first)
    ) then
        return null;
    end if;
    while upcoming.first <= upcoming.head + ahead * upcoming.rows loop
        child := format('%s_%s', parent, lpad(upcoming.first::text, 19, '0'));
        execute format('create table @.%I (like @.%I including all)', child, parent);
        execute format(
            'create trigger no_truncate before truncate on @.%I for each statement'
            ' execute function @.refuse_change()', child);
        execute format(
            'alter table @.%I attach partition @.%I for values from (%s) to (%s)',
            parent, child, upcoming.first, upcoming.first + upcoming.rows);
        insert into @.log_partition values (which, upcoming.first, upcoming.first + upcoming.rows);
        upcoming.first := upcoming.first + upcoming.rows;
        made := made + 1;
    end loop;
    perform @.admit_to_default(spare);
    return made;
end
$$
    $definition$, '@', here);

    -- Say that the default partition has no row where the next partitions will be. Once that is validated,
    -- attaching them spares a scan of all that is there, under a lock that keeps its readers out.
    --
    -- Until then nothing may be appended there either, which is far ahead of the head.
    execute replace($definition$
create function @.exclude_from_default(which text, ahead integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    spare constant text := @.log_table(which) || '_default';
    upcoming record;
begin
    execute format('lock table @.%I in access exclusive mode nowait', spare);
    select * into upcoming from @.next_partition(which);
    perform @.admit_to_default(spare);
    execute format(
        'alter table @.%I add constraint %I check (position < %s or position >= %s) not valid',
        spare, format('none_from_%s', upcoming.first), upcoming.first, upcoming.first + (ahead + 2) * upcoming.rows);
end
$$
    $definition$, '@', here);

    -- Look through the default partition whether that is so; readers and appends go on meanwhile.
    execute replace($definition$
create function @.validate_default(which text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set lock_timeout = '100ms' as $$
declare
    spare constant text := @.log_table(which) || '_default';
    name text;
begin
    for name in
        select conname from pg_constraint
        where conrelid = format('@.%I', spare)::regclass and conname ~ '^none_from_' and not convalidated
    loop
        execute format('alter table @.%I validate constraint %I', spare, name);
    end loop;
end
$$
    $definition$, '@', here);

    -- Take back what exclude_from_default said.
    execute replace($definition$
create function @.admit_to_default(spare text) returns void
language plpgsql as $$
declare
    name text;
begin
    for name in
        select conname from pg_constraint
        where conrelid = format('@.%I', spare)::regclass and conname ~ '^none_from_'
    loop
        execute format('alter table @.%I drop constraint %I', spare, name);
    end loop;
end
$$
    $definition$, '@', here);

    -- The table of a log.
    execute replace($definition$
create function @.log_table(which text) returns text
language plpgsql immutable as $$
begin
    if which not in ('deliveries', 'events') then
        raise exception 'no such log: %', which using errcode = 'invalid_parameter_value';
    end if;
    return case which when 'deliveries' then 'delivery_log' else 'event_log' end;
end
$$
    $definition$, '@', here);
end
$migration$;

-- Fewer and larger ones: each costs every reader of the log a little.
update log_head set partition_rows = 25000000;

revoke insert on delivery_log, event_log from recibo_service;
revoke update on log_head from recibo_service;

do $$
declare
    it regprocedure;
begin
    for it in
        select p.oid from pg_proc p
        where p.prosecdef and p.pronamespace = current_schema()::regnamespace
    loop
        execute format('revoke execute on function %s from public', it);
        execute format('grant execute on function %s to recibo_service', it);
    end loop;
end
$$;
