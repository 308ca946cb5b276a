-- The functions of those of a relation's rules that have a query in them. Their bodies are parsed when they are made: as in a WHEN,
-- names are resolved by the search_path of whoever declares the rule and no other can change them. They run as the writer, whom
-- everybody may be, and see what the writer's statement sees.
-- Called by: make_guard_v1, guard_is_current_v1. Cost at run time: that of the query, and 10 µs and more.
create function rowcall.rule_functions_v1(relation_id integer) returns table (name text, statement text, rule text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select f.name,
    format(E'create function rowcall.%s(%s) returns boolean language sql stable begin atomic select (%s\n)\n'
        || 'from (select %s) as old, (select %s) as new; end',
      f.name, a.types, r.expression, a.old, a.new),
    r.name
  from rowcall.rule as r
  join rowcall.relation as n on n.id = r.relation
  cross join lateral rowcall.rule_function_name_v1(r) as f (name)
  cross join lateral (
    select string_agg(type, ', ' order by place) as types,
      string_agg(format('$%s as %I', place, column_name), ', ' order by place) filter (where row_name = 'old') as old,
      string_agg(format('$%s as %I', place, column_name), ', ' order by place) filter (where row_name = 'new') as new
    from rowcall.rule_arguments_v1(r, n.oid)
  ) as a
  where r.relation = relation_id and rowcall.has_query_v1(r.expression)
$$;
