-- Enables capture triggers that somebody disabled: declaring a watch says that it shall work.
-- Called by: watch_v1.
create function rowcall.enable_capture_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger record;
begin
  for v_trigger in
    select t.tgname, t.tgrelid::regclass as table_oid
    from rowcall.capture_tables_v1(relation_id) as c join pg_trigger as t on t.tgrelid = c.table_oid
    where t.tgname ~ '^0[01]_rowcall_' and t.tgenabled not in ('O', 'A') and t.tgparentid = 0
  loop
    execute format('alter table %s enable trigger %I', v_trigger.table_oid, v_trigger.tgname);
  end loop;
end $$;
