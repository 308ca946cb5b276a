-- Whether there can be a query in an expression.
create function rowcall.has_query_v1(expression text) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select expression ~* '\m(select|values|table|with)\M'
$$;

-- What the function of a rule with a query is called.
create function rowcall.rule_function_name_v1(rule rowcall.rule) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select format('rule_%s_%s', (rule).relation, left(md5((rule).name), 12))
$$;

-- The condition of a rule's triggers, as its expression or, where that has a query in it, which WHEN does not allow, as a call of
-- the rule's own function. A word such as "select" in a string makes it a function too, which is slower and says the same.
-- Called by: guard_triggers_v1, rule_functions_v1.
create function rowcall.rule_condition_v1(rule rowcall.rule) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when rowcall.has_query_v1((rule).expression)
    then format('rowcall.%s(%s, %s)', rowcall.rule_function_name_v1(rule),
      case when 'old' = any ((rule).rows) then 'old.*' else 'null' end,
      case when 'new' = any ((rule).rows) then 'new.*' else 'null' end)
    else format(E'(%s\n)', (rule).expression) end
$$;

-- Whether a rule speaks of generated columns of new, which are computed only once all BEFORE triggers are through; or might.
create function rowcall.needs_generated_v1(rule rowcall.rule, table_oid oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select 'new' = any ((rule).rows) and exists (
    select from pg_attribute
    where attrelid = table_oid and attnum > 0 and not attisdropped and attgenerated <> ''
      and (rowcall.has_query_v1((rule).expression) or position(lower(attname::text) in lower((rule).expression)) > 0))
$$;
