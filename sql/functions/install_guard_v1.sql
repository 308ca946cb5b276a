-- Makes the validation functions of a relation; the comment is the hash of their definition, see guard_is_current_v1.
-- Called by: guard_v1, and watch_v1 for a guarded table, because options such as exclude hold for both.
create function rowcall.install_guard_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_definition constant text := rowcall.guard_definition_v1(relation_id);
begin
  execute v_definition;
  execute format('comment on function rowcall.gate_%s() is %L', relation_id, md5(v_definition));
  perform rowcall.give_function_v1(format('rowcall.gate_%s()', relation_id), 'rowcall_gate');
  perform rowcall.give_function_v1(format('rowcall.refuse_%s()', relation_id), 'rowcall_gate');
  perform rowcall.give_function_v1(format('rowcall.warn_%s()', relation_id), 'rowcall_gate');
  perform rowcall.record_layout_v1(relation_id);
end $$;

-- The opposite, for a relation that nothing guards any more.
-- Called by: guard_v1.
create function rowcall.remove_guard_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  execute format('drop function if exists rowcall.gate_%1$s(), rowcall.refuse_%1$s(), rowcall.warn_%1$s()', relation_id);
end $$;
