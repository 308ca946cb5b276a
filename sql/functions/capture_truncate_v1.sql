-- Records a TRUNCATE as one event without key or images. Argument: the relation's id.
-- Called by: statement triggers of watched tables. Fires for each table of a TRUNCATE … CASCADE.
create function rowcall.capture_truncate_v1() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seq constant bigint := nextval('rowcall.event_seq');
begin
  perform rowcall.bell_v1();
  insert into rowcall.event (seq, xid, at, relation, operation, actor, context, db_user, db_role, application_name)
  values (v_seq, pg_current_xact_id(), clock_timestamp(), tg_argv[0]::integer, 'truncate',
    nullif(current_setting('rowcall.actor', true), ''), rowcall.fallback_context_v1(),
    session_user, nullif(current_setting('role'), 'none'), nullif(current_setting('application_name'), ''));
  -- Overwritten, not joined to, what rows of this transaction left: they are announced already.
  perform set_config('rowcall.range_' || tg_argv[0], v_seq || ' ' || v_seq, true);
  return null;
end $$;
