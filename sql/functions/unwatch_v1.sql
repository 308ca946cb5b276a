-- Ends the capture of a table: triggers and function go, the history stays. False if nothing was watched.
-- Called by: rowcall unwatch, rowcall sync, op.unwatch_table.
create function rowcall.unwatch_v1(table_oid regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation integer;
begin
  delete from rowcall.watch as w using rowcall.relation as r
    where r.id = w.relation and r.oid = table_oid and r.dropped_at is null
    returning r.id into v_relation;
  if v_relation is null then
    return false;
  end if;
  execute format('drop trigger if exists "00_rowcall_capture" on %s', table_oid);
  execute format('drop trigger if exists "00_rowcall_truncate" on %s', table_oid);
  execute format('drop trigger if exists "01_rowcall_ring" on %s', table_oid);
  execute format('drop trigger if exists "01_rowcall_announce" on %s', table_oid);
  execute format('drop function if exists rowcall.capture_%s()', v_relation);
  return true;
end $$;
