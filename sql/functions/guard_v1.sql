-- Declares an app's rules and before-handlers for a table and makes the triggers. Says 'changed' or 'unchanged'.
-- BEFORE triggers fire by name, so "zz_…" comes after the user's own: 1 the gate, 2 what it amended, 3 the rules, which so
-- judge the row as it will be written. A rule is the WHEN of its trigger: it costs a fraction of a microsecond, is evaluated
-- as the writer, its names were resolved when it was made and no search_path can change them. Like a CHECK, a rule
-- that comes out null passes.
-- Without a SET clause, because the names in a rule are resolved by the search_path of whoever declares it.
-- Called by: rowcall sync. Runs with the caller's rights.
create function rowcall.guard_v1(table_oid regclass, rules jsonb, handlers jsonb, declared_by text) returns text
language plpgsql
as $$
declare
  v_relation constant pg_catalog.int4 := rowcall.relation_id_v1(table_oid);
  v_before constant pg_catalog.jsonb := rowcall.guards_of_v1(v_relation);
  v_name pg_catalog.text;
  v_statement pg_catalog.text;
  v_rule rowcall.rule;
begin
  perform rowcall.declare_guards_v1(v_relation, rules, handlers, declared_by);
  perform rowcall.check_gate_v1(v_relation);
  if v_before operator(pg_catalog.=) rowcall.guards_of_v1(v_relation) and rowcall.guard_is_current_v1(v_relation) then
    return 'unchanged';
  end if;
  perform rowcall.install_guard_v1(v_relation);
  perform rowcall.drop_guard_triggers_v1(table_oid);
  foreach v_name in array '{insert,update,delete}'::pg_catalog.text[] loop
    v_statement := rowcall.gate_trigger_v1(v_relation, v_name);
    if v_statement is not null then
      execute v_statement;
    end if;
  end loop;
  if exists (select from rowcall.before_handler as h
             where h.relation operator(pg_catalog.=) v_relation
               and h.operations operator(pg_catalog.&&) '{insert,update}'::pg_catalog.text[]) then
    execute pg_catalog.format('create trigger zz_rowcall_2_amend before insert or update on %s for each row
      when (coalesce(pg_catalog.current_setting(''rowcall.amendment'', true), '''') operator(pg_catalog.<>) '''')
      execute function rowcall.amend_v1()', table_oid);
  end if;
  for v_rule in select * from rowcall.rule as r where r.relation operator(pg_catalog.=) v_relation loop
    begin
      execute pg_catalog.format('create trigger %I before %s on %s for each row when ((%s) is false)
        execute function rowcall.refuse_%s(%L, %L)',
        case when pg_catalog.octet_length(v_rule.name) operator(pg_catalog.<=) 44
          then pg_catalog.concat('zz_rowcall_3_rule_', v_rule.name)
          else pg_catalog.concat('zz_rowcall_3_rule_', pg_catalog.md5(v_rule.name)) end,
        pg_catalog.array_to_string(v_rule.operations, ' or '), table_oid, v_rule.expression,
        v_relation, v_rule.name, v_rule.message);
    exception when others then
      raise exception using errcode = sqlstate,
        message = pg_catalog.format('the rule %I of %s cannot be used: %s', v_rule.name, table_oid, sqlerrm),
        hint = 'Write one SQL condition over old and new, such as "new.age >= 18"; put what needs a query into a function.';
    end;
  end loop;
  return 'changed';
end $$;
