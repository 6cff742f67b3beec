-- Why:  how far each partition of webhooks.spill, where deliveries go while this database is away, is
--       in the log: moved in the transaction that appends them.
-- Lock: creates objects only.
-- Beside: the releases before it, which know neither the table nor the topic.

create table spill_offset (
    log text not null,
    partition integer not null,
    next_offset bigint not null check (next_offset >= 0),
    primary key (log, partition)
) with (fillfactor = 50);
comment on table spill_offset is
    'The next offset of webhooks.spill to append; all before it are in the log.';

grant select, insert, update on spill_offset to recibo_service;
