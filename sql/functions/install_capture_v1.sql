-- Makes the capture function of a watched relation and its triggers, and records the layout. Run again whenever columns,
-- key or options change: the result replaces the old.
-- Triggers are named to fire first ("00_…"), so a change that another AFTER trigger makes follows the change that caused it.
-- The function's comment is the hash of its definition: drift is a comparison, not a parse.
-- Runs with the installer's rights. Called by: watch_v1.
create function rowcall.install_capture_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_relation rowcall.relation;
  v_options jsonb;
  v_table text;
  v_definition constant text := rowcall.capture_definition_v1(relation_id);
  v_function constant text := format('rowcall.capture_%s', relation_id);
begin
  select * into strict v_relation from rowcall.relation where id = relation_id;
  select options into strict v_options from rowcall.watch where relation = relation_id;
  v_table := v_relation.oid::regclass::text;
  execute v_definition;
  execute format('comment on function %s() is %L', v_function, md5(v_definition));
  perform rowcall.give_function_v1(v_function || '()', 'rowcall_capture');

  execute format('create or replace trigger "00_rowcall_capture" after insert or update or delete on %s
    for each row execute function %s()', v_table, v_function);
  execute format('create or replace trigger "00_rowcall_truncate" after truncate on %s
    for each statement execute function rowcall.capture_truncate_v1(%L)', v_table, relation_id);
  execute format('create or replace trigger "01_rowcall_ring" after insert or update or delete or truncate on %s
    for each statement execute function rowcall.ring_v1()', v_table);
  if coalesce((v_options ->> 'notify')::boolean, false) then
    execute format('create or replace trigger "01_rowcall_announce" after insert or update or delete or truncate on %s
      for each statement execute function rowcall.announce_v1(%L, %L, %L)', v_table,
      left('rowcall_' || v_relation.table_name, 63), v_relation.schema_name || '.' || v_relation.table_name, relation_id);
  else
    execute format('drop trigger if exists "01_rowcall_announce" on %s', v_table);
  end if;
  perform rowcall.record_layout_v1(relation_id);
end $$;
