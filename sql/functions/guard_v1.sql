-- Declares an app's rules and before-handlers for a table and makes the triggers. Says 'created', 'changed (…)', 'removed' or
-- 'unchanged', of what this app declared.
-- Without a SET clause, because the names in a rule are resolved by the search_path of whoever declares it.
-- Called by: rowcall sync. Runs with the caller's rights.
create function rowcall.guard_v1(table_oid regclass, rules jsonb, handlers jsonb, declared_by text) returns text
language plpgsql
as $$
declare
  v_relation constant pg_catalog.int4 := rowcall.relation_id_v1(table_oid);
  v_new constant pg_catalog.bool := not exists (
      select from rowcall.rule as r where r.relation operator(pg_catalog.=) v_relation
        and r.declared_by operator(pg_catalog.=) guard_v1.declared_by)
    and not exists (
      select from rowcall.before_handler as h where h.relation operator(pg_catalog.=) v_relation
        and h.declared_by operator(pg_catalog.=) guard_v1.declared_by);
  v_changes constant pg_catalog.text := rowcall.declare_guards_v1(v_relation, rules, handlers, declared_by);
begin
  perform rowcall.check_gate_v1(v_relation);
  if rowcall.guard_is_current_v1(v_relation) then
    return case when v_changes is null then 'unchanged' else pg_catalog.format('changed (%s)', v_changes) end;
  end if;
  perform rowcall.drop_guard_triggers_v1(table_oid);
  if not exists (select from rowcall.guard_triggers_v1(v_relation)) then
    perform rowcall.remove_guard_v1(v_relation);
    return 'removed';
  end if;
  perform rowcall.install_guard_v1(v_relation);
  perform rowcall.make_guard_v1(v_relation, t.kind, t.subject)
    from (select distinct g.kind, g.subject from rowcall.guard_triggers_v1(v_relation) as g
          where g.kind operator(pg_catalog.<>) 'moved') as t;
  perform rowcall.place_guards_v1(v_relation);
  return case when v_new then 'created'
    when (rules operator(pg_catalog.||) handlers) operator(pg_catalog.=) '[]' then 'removed'
    else pg_catalog.concat('changed', ' (' operator(pg_catalog.||) v_changes operator(pg_catalog.||) ')') end;
end $$;
