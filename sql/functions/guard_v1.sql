-- Declares an app's rules and before-handlers for a table and makes the triggers. Says 'created', 'changed', 'removed' or
-- 'unchanged', of what this app declared.
-- Each trigger's comment is the hash of its statement, see guard_is_current_v1.
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
  v_trigger record;
begin
  perform rowcall.declare_guards_v1(v_relation, rules, handlers, declared_by);
  perform rowcall.check_gate_v1(v_relation);
  if rowcall.guard_is_current_v1(v_relation) then
    return 'unchanged';
  end if;
  perform rowcall.drop_guard_triggers_v1(table_oid);
  if not exists (select from rowcall.guard_triggers_v1(v_relation)) then
    perform rowcall.remove_guard_v1(v_relation);
    return 'removed';
  end if;
  perform rowcall.install_guard_v1(v_relation);
  for v_trigger in select * from rowcall.guard_triggers_v1(v_relation) loop
    if v_trigger.rule is null then
      execute v_trigger.statement;
    else
      perform rowcall.make_rule_v1(table_oid, v_trigger.rule, v_trigger.statement);
    end if;
    execute pg_catalog.format('comment on trigger %I on %s is %L', v_trigger.name, table_oid, pg_catalog.md5(v_trigger.statement));
  end loop;
  return case when v_new then 'created'
    when (rules operator(pg_catalog.||) handlers) operator(pg_catalog.=) '[]' then 'removed'
    else 'changed' end;
end $$;

-- Makes the trigger of one rule. Its expression has to make sense by itself first: "a) or (b" would in the trigger's
-- parentheses, and mean something else.
create function rowcall.make_rule_v1(table_oid regclass, rule_name text, statement text) returns void
language plpgsql
as $$
declare
  v_expression pg_catalog.text;
begin
  select r.expression into strict v_expression
    from rowcall.rule as r join rowcall.relation as n on n.id operator(pg_catalog.=) r.relation
    where n.oid operator(pg_catalog.=) table_oid and n.dropped_at is null and r.name operator(pg_catalog.=) rule_name;
  execute pg_catalog.format(E'select %s\n from %s as old, %s as new where false', v_expression, table_oid, table_oid);
  execute statement;
exception when others then
  raise exception using errcode = sqlstate,
    message = pg_catalog.format('the rule %I of %s cannot be used: %s', rule_name, table_oid, sqlerrm),
    hint = 'Write one SQL condition over old and new, such as "new.age >= 18"; put what needs a query into a function.';
end $$;
