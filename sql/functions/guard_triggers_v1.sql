-- The validation triggers of a relation as they should be: name, statement, and the rule it checks if it does.
-- BEFORE triggers fire by name, so "zz_…" comes after the user's own:
--   zz_rowcall_1_<app>_1_gate_<operation>   asks the before-handlers of one app, which one listener answers together,
--   zz_rowcall_1_<app>_2_amend_<operation>  writes what they amended, before the next app is asked,
--   zz_rowcall_3_rule_<name>                the rules, which so judge the row as it will be written.
-- If every handler of an app names columns, rows in which none of them changed never leave PostgreSQL. The amendment has the
-- same condition, because it comes by a setting that anybody can set: it is read only where the gate has just written it.
-- A rule is the WHEN of its trigger: it costs a fraction of a microsecond, is evaluated as the writer, its names were
-- resolved when it was made and no search_path can change them. Like a CHECK, a rule that comes out null passes.
-- Called by: guard_v1, guard_is_current_v1.
create function rowcall.guard_triggers_v1(relation_id integer) returns table (name text, statement text, rule text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with asked as (
    select dense_rank() over (order by h.declared_by) as app, o.operation, h.columns, h.timeout_ms, h.on_unavailable, h.name,
      h.position, r.oid
    from rowcall.before_handler as h
    join rowcall.relation as r on r.id = h.relation
    cross join lateral unnest(h.operations) as o (operation)
    where h.relation = relation_id
  ), gates as (
    select 'zz_rowcall_1_' || to_char(app, 'FM000') as prefix, operation, oid::regclass as table_name,
      case when operation = 'update' and bool_and(columns <> '{}') then (
        select string_agg(distinct rowcall.difference_v1(c.attname::text, c.atttypid), ' or ')
        from pg_attribute as c
        where c.attrelid = a.oid and c.attnum > 0 and not c.attisdropped
          and c.attname = any (select unnest(x.columns) from asked as x where x.app = a.app and x.operation = a.operation))
      end as condition,
      format('%L, %L, ', sum(timeout_ms), case when bool_or(on_unavailable = 'reject') then 'reject' else 'accept' end)
        || string_agg(quote_literal(a.name), ', ' order by position) as arguments
    from asked as a
    group by app, operation, oid
  )
  select format('%s_1_gate_%s', prefix, operation),
    format('create trigger %I before %s on %s for each row %s execute function rowcall.gate_%s(%s)',
      format('%s_1_gate_%s', prefix, operation), operation, table_name,
      'when (' || condition || ')', relation_id, arguments),
    null
  from gates
  union all
  select format('%s_2_amend_%s', prefix, operation),
    format('create trigger %I before %s on %s for each row when (%scoalesce(pg_catalog.current_setting(%L, true), '''')
      operator(pg_catalog.<>) '''') execute function rowcall.amend_v1()',
      format('%s_2_amend_%s', prefix, operation), operation, table_name,
      '(' || condition || ') and ', 'rowcall.amendment')
  , null
  from gates where operation <> 'delete'
  union all
  select t.name,
    format(E'create trigger %I before %s on %s for each row when ((%s\n) is false) execute function rowcall.refuse_%s(%L, %L)',
      t.name, array_to_string(r.operations, ' or '), n.oid::regclass, r.expression, relation_id, r.name, r.message),
    r.name
  from rowcall.rule as r
  join rowcall.relation as n on n.id = r.relation
  cross join lateral (
    select 'zz_rowcall_3_rule_' || case when octet_length(r.name) <= 44 then r.name else md5(r.name) end
  ) as t (name)
  where r.relation = relation_id
$$;
