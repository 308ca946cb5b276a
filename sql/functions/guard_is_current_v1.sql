-- Whether the validation functions of a relation are generated from the table as it is now.
-- Called by: guard_v1, rowcall sync --check.
create function rowcall.guard_is_current_v1(relation_id integer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    obj_description(to_regproc('rowcall.gate_' || relation_id), 'pg_proc') = md5(rowcall.guard_definition_v1(relation_id)),
    false)
$$;
