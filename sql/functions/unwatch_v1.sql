-- Ends the capture of a table: triggers and functions go, the history stays. False if nothing was watched.
-- Called by: rowcall unwatch, rowcall sync, op.unwatch_table.
create function rowcall.unwatch_v1(table_oid regclass) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation integer;
  v_trigger record;
begin
  delete from rowcall.watch as w using rowcall.relation as r
    where r.id = w.relation and r.oid = table_oid and r.dropped_at is null
    returning r.id into v_relation;
  if v_relation is null then
    return false;
  end if;
  for v_trigger in
    select t.tgname, t.tgrelid::regclass as table_oid from rowcall.capture_tables_v1(v_relation) as c
    join pg_trigger as t on t.tgrelid = c.table_oid
    where t.tgname ~ '^0[01]_rowcall_' and not t.tgisinternal and t.tgparentid = 0
  loop
    execute format('drop trigger %I on %s', v_trigger.tgname, v_trigger.table_oid);
  end loop;
  for v_trigger in select c.table_oid::regclass as table_oid from rowcall.capture_tables_v1(v_relation) as c loop
    execute format('revoke select on %s from rowcall_capture', v_trigger.table_oid);
  end loop;
  execute format('drop function if exists rowcall.capture_%1$s(), rowcall.capture_bulk_%1$s(),
    rowcall.capture_rows_%1$s()', v_relation);
  return true;
end $$;
