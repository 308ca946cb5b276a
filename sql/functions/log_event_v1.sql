-- Logs one event, for the rarer ways of capture, and rings the doorbell. The generated functions write theirs themselves: a call
-- costs more than the INSERT.
-- Called by: capture_truncate_v1, capture_rows_N, flush_move_v1, relation_id_v1. Runs with their rights.
create function rowcall.log_event_v1(seq bigint, relation integer, operation rowcall.operation, key jsonb default null,
  old jsonb default null) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform rowcall.bell_v1();
  insert into rowcall.event (seq, xid, at, relation, operation, key, old, actor, context, db_user, db_role, application_name)
  values (log_event_v1.seq, pg_current_xact_id(), clock_timestamp(), log_event_v1.relation, log_event_v1.operation,
    log_event_v1.key, log_event_v1.old, nullif(current_setting('rowcall.actor', true), ''), rowcall.fallback_context_v1(),
    session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), ''));
end $$;
