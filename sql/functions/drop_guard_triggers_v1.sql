-- Removes the validation triggers of a table, and the functions that only they call.
-- Called by: guard_v1.
create function rowcall.drop_guard_triggers_v1(table_oid regclass) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_name name;
  v_function regprocedure;
begin
  for v_name in
    select tgname from rowcall.guards_of_v1(table_oid) where tgparentid = 0
  loop
    execute format('drop trigger %I on %s', v_name, table_oid);
  end loop;
  for v_function in
    select p.oid from pg_proc as p join rowcall.relation as r on r.oid = table_oid and r.dropped_at is null
    where p.pronamespace = 'rowcall'::regnamespace and starts_with(p.proname, format('rule_%s_', r.id))
  loop
    execute format('drop function %s', v_function);
  end loop;
end $$;
