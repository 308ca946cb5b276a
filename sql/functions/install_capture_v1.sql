-- Makes the capture functions of a watched relation. By itself, because where the triggers cannot be made (somebody's own
-- has a name of ours) the functions at least must fit the table.
-- Called by: install_capture_v1, follow_ddl_v1.
create function rowcall.install_functions_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform rowcall.install_function_v1(format('rowcall.capture_%s()', relation_id),
    rowcall.capture_definition_v1(relation_id));
  perform rowcall.install_function_v1(format('rowcall.capture_bulk_%s()', relation_id),
    rowcall.capture_bulk_definition_v1(relation_id));
  perform rowcall.install_function_v1(format('rowcall.capture_rows_%s()', relation_id),
    rowcall.capture_rows_definition_v1(relation_id));
end $$;

-- Makes the capture functions and triggers of a watched relation, removes those it no longer needs, and records the layout.
-- Run again whenever columns, key, options, partitions or other triggers change: the result replaces the old.
-- Comments hold the hashes of what each was made from: drift is a comparison, not a parse.
-- Called by: watch_v1, refresh_v1.
create function rowcall.install_capture_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_trigger record;
begin
  perform rowcall.install_functions_v1(relation_id);
  for v_trigger in
    select distinct w.table_oid::regclass as table_oid from rowcall.capture_triggers_v1(relation_id) as w
    where w.statement like '%execute function rowcall.capture\_rows\_%'
  loop
    execute format('grant usage on schema %I to rowcall_capture', (select n.nspname from pg_class as c
      join pg_namespace as n on n.oid = c.relnamespace where c.oid = v_trigger.table_oid));
    execute format('grant select on %s to rowcall_capture', v_trigger.table_oid);
  end loop;
  for v_trigger in
    select s.name, s.table_oid::regclass as table_oid from rowcall.stale_triggers_v1(relation_id) as s
  loop
    execute format('drop trigger %I on %s', v_trigger.name, v_trigger.table_oid);
  end loop;
  for v_trigger in
    select * from rowcall.capture_triggers_v1(relation_id) as w
    where not rowcall.trigger_is_current_v1(w.table_oid, w.name, w.statement)
  loop
    execute v_trigger.statement;
    execute format('comment on trigger %I on %s is %L', v_trigger.name, v_trigger.table_oid::regclass,
      md5(v_trigger.statement));
  end loop;
  perform rowcall.record_layout_v1(relation_id);
end $$;
