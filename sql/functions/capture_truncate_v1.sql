-- Records a TRUNCATE as one event without key or images. Argument: the relation's id.
-- Called by: statement triggers of watched tables. Fires for each table of a TRUNCATE … CASCADE.
create function rowcall.capture_truncate_v1() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  v_seq constant bigint := nextval('rowcall.event_seq');
begin
  perform rowcall.log_event_v1(v_seq, tg_argv[0]::integer, 'truncate');
  -- Overwritten, not joined to, what rows of this transaction left: they are announced already.
  perform set_config('rowcall.range_' || tg_argv[0], v_seq || ' ' || v_seq, true);
  return null;
end $$;
