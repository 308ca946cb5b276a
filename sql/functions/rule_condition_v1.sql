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

-- The columns of old and new that a rule speaks of, by the looks of it: the parameters of its function. A function that took whole
-- rows would keep their table from being dropped.
create function rowcall.rule_arguments_v1(rule rowcall.rule, table_oid oid)
returns table (place bigint, row_name text, column_name text, type text, generated boolean)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select row_number() over (order by r.name, a.attnum), r.name, a.attname::text, format_type(a.atttypid, null), a.attgenerated <> ''
  from unnest((rule).rows) as r (name)
  join pg_attribute as a on a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
  where (rule).expression ~* format('\m%s"?\s*\.\s*"?%s(\W|$)', r.name,
    regexp_replace(replace(a.attname, '"', '""'), '[]^$.*+?(){}|[\\]', '\\\&', 'g'))
$$;

-- The condition of a rule's triggers, as its expression or, where that has a query in it, which WHEN does not allow, as a call of
-- the rule's own function. A word such as "select" in a string makes it a function too, which is slower and says the same.
-- Called by: guard_triggers_v1.
create function rowcall.rule_condition_v1(rule rowcall.rule, table_oid oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case when rowcall.has_query_v1((rule).expression)
    then format('rowcall.%s(%s)', rowcall.rule_function_name_v1(rule), (
      select string_agg(format('%s.%I', row_name, column_name), ', ' order by place)
      from rowcall.rule_arguments_v1(rule, table_oid)))
    else format(E'(%s\n)', (rule).expression) end
$$;

-- Whether a rule speaks of generated columns of new, which are computed only once all BEFORE triggers are through.
create function rowcall.needs_generated_v1(rule rowcall.rule, table_oid oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select exists (select from rowcall.rule_arguments_v1(rule, table_oid) where row_name = 'new' and generated)
$$;
