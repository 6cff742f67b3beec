-- What a new session is, and how durable its commits are from now on: no less than `on`, which is set and not
-- only found, because the server's own setting may change. Takes no lock.
select pg_backend_pid() as pid,
       current_user::text as role,
       current_setting('server_encoding') as encoding,
       extract(epoch from current_setting('statement_timeout')::interval)::float8 as statement_timeout_s,
       extract(epoch from current_setting('idle_in_transaction_session_timeout')::interval)::float8
           as idle_in_transaction_s,
       current_setting('fsync') as fsync,
       current_setting('full_page_writes') as full_page_writes,
       set_config(
           'synchronous_commit',
           case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end,
           false) as synchronous_commit
