-- Removes the validation triggers of a table.
-- Called by: guard_v1.
create function rowcall.drop_guard_triggers_v1(table_oid regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name name;
begin
  for v_name in
    select tgname from pg_trigger
    where tgrelid = table_oid and not tgisinternal and tgparentid = 0 and starts_with(tgname, 'zz_rowcall_')
  loop
    execute format('drop trigger %I on %s', v_name, table_oid);
  end loop;
end $$;
