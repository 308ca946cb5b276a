-- Whether the validation of a relation is in place, enabled, last to fire, and made from its declarations and the table as they are now.
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
        from rowcall.relation as r cross join lateral rowcall.guards_of_v1(r.oid) as t
        where r.id = relation_id and t.tgparentid = 0 and t.tgenabled <> 'D'
      ) as found
      full join (
        select regexp_replace(w.name, '^zz_rowcall_', p.prefix) as name, w.statement
        from rowcall.guard_triggers_v1(relation_id) as w cross join rowcall.guard_prefix_v1(relation_id) as p (prefix)
      ) as wanted using (name)
      where found.made_by is distinct from md5(wanted.statement))
    and not exists (
      select from (
        select proname::text as name, obj_description(oid, 'pg_proc') as made_by
        from pg_proc where pronamespace = 'rowcall'::regnamespace and starts_with(proname, format('rule_%s_', relation_id))
      ) as found
      full join rowcall.rule_functions_v1(relation_id) as wanted using (name)
      where found.made_by is distinct from md5(wanted.statement))
$$;
