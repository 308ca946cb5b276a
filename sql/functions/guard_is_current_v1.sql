-- Whether the validation of a relation is in place, enabled, and made from its declarations and the table as they are now.
-- Called by: guard_v1, rowcall sync --check.
create function rowcall.guard_is_current_v1(relation_id integer) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
      obj_description(to_regproc('rowcall.gate_' || relation_id), 'pg_proc') = md5(rowcall.guard_definition_v1(relation_id)), false)
    and not exists (
      select from (
        select t.tgname::text as name, obj_description(t.oid, 'pg_trigger') as made_by
        from pg_trigger as t join rowcall.relation as r on r.oid = t.tgrelid
        where r.id = relation_id and t.tgparentid = 0 and t.tgenabled <> 'D' and starts_with(t.tgname, 'zz_rowcall_')
      ) as found
      full join rowcall.guard_triggers_v1(relation_id) as wanted using (name)
      where found.made_by is distinct from md5(wanted.statement))
    and not exists (
      select from (
        select proname::text as name, obj_description(oid, 'pg_proc') as made_by
        from pg_proc where pronamespace = 'rowcall'::regnamespace and starts_with(proname, format('rule_%s_', relation_id))
      ) as found
      full join rowcall.rule_functions_v1(relation_id) as wanted using (name)
      where found.made_by is distinct from md5(wanted.statement))
$$;
