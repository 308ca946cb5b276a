-- Makes what one rule or one group of before-handlers needs: the rule's function if it has one, and triggers. An
-- expression has to make sense by itself first: "a) or (b" would in the trigger's parentheses, and mean something else. A cursor
-- takes one query only, and this one returns nothing.
-- Each trigger's comment is the hash of its statement, and so is each function's, see guard_is_current_v1.
-- Without a SET clause, because the names in an expression are resolved by the search_path of whoever declares it.
-- Called by: guard_v1.
create function rowcall.make_guard_v1(relation_id integer, kind text, subject text) returns void
language plpgsql
as $$
declare
  v_table constant pg_catalog.regclass := (select r.oid from rowcall.relation as r where r.id operator(pg_catalog.=) relation_id);
  v_made record;
  v_cursor pg_catalog.refcursor;
begin
  for v_made in
    select t.name, t.statement, t.expression, t.kind from rowcall.guard_triggers_v1(relation_id) as t
    where t.kind operator(pg_catalog.=) make_guard_v1.kind and t.subject operator(pg_catalog.=) make_guard_v1.subject
    order by t.name
  loop
    if v_made.expression is not null then
      open v_cursor for execute
        pg_catalog.format(E'select %s\n from %s as old, %s as new where false', v_made.expression, v_table, v_table);
      close v_cursor;
    end if;
    perform rowcall.make_rule_function_v1(relation_id, subject) where v_made.kind operator(pg_catalog.=) 'rule';
    execute v_made.statement;
    execute pg_catalog.format('comment on trigger %I on %s is %L', v_made.name, v_table, pg_catalog.md5(v_made.statement));
  end loop;
exception when others then
  raise exception using errcode = sqlstate,
    message = pg_catalog.format('the %s %I of %s cannot be used: %s', kind, subject, v_table, sqlerrm),
    hint = pg_catalog.format('Write one SQL condition over old and new, such as "new.age >= 18"%s.',
      case kind when 'rule' then '' else '; put what needs a query into a function' end);
end $$;

-- Makes the function of a rule that has one, unless it is there already.
create function rowcall.make_rule_function_v1(relation_id integer, rule text) returns void
language plpgsql
as $$
declare
  v_made record;
begin
  for v_made in
    select f.name, f.statement from rowcall.rule_functions_v1(relation_id) as f
    where f.rule operator(pg_catalog.=) make_rule_function_v1.rule
      and pg_catalog.to_regproc('rowcall.' operator(pg_catalog.||) f.name) is null
  loop
    execute v_made.statement;
    execute pg_catalog.format('comment on function rowcall.%I is %L', v_made.name, pg_catalog.md5(v_made.statement));
    execute pg_catalog.format('grant execute on function rowcall.%I to public', v_made.name);
  end loop;
end $$;
