-- The validation triggers of a relation as they should be: name, statement, and what they are for: a rule or a before-handler,
-- with the expression in a user's words, whose mistakes are to be told as such.
-- BEFORE triggers fire by name, so "zz_…" comes after the user's own; where it does not, place_guards_v1 gives them other names:
--   zz_rowcall_1_<relation>_<app>_<group>_1_gate_<operation>   asks before-handlers of one app, which one listener answers together,
--   zz_rowcall_1_<relation>_<app>_<group>_2_amend_<operation>  writes what they amended, before others are asked,
--   zz_rowcall_3_rule_<relation>_<name>                        the rules, which so judge the row as it will be written,
--   zz_rowcall_4_again_<relation>_<name>                       the rules AFTER it is written, because a trigger of the user's may have
--                                                              changed the row on its way to another partition, or come after ours
--                                                              until somebody synchronises, where no event trigger sees it,
--   zz_rowcall_5_warn_<relation>_<name>                        rules that only warn, AFTER, about rows that are written indeed.
-- The relation's id, because a partition with validation of its own has the triggers of its parent beside it.
-- Handlers in a row are asked together; one with a condition is asked by itself, since that decides about it alone, and about the
-- row as the ones before amended it. If every handler of a group names columns, rows in which none of them changed never leave
-- PostgreSQL. The amendment has the same condition, because it comes by a setting that anybody can set: it is read only where the
-- gate has just written it.
-- A rule is the WHEN of its trigger: it costs a fraction of a microsecond, is evaluated as the writer, its names were
-- resolved when it was made and no search_path can change them. Like a CHECK, a rule that comes out null passes.
--   zz_rowcall_[02]_moved_<relation>_…                         see moved_v1.
-- A row on its way to another partition is an update to BEFORE triggers only, and a delete and an insert to all. So there a rule that
-- warns, and is for updates alone, is BEFORE, and any other AFTER: it would warn twice of such a row.
-- Generated columns are known to AFTER triggers only.
-- Called by: guard_v1, guard_is_current_v1. place_guards_v1 makes the last kind, and renames all of them.
create function rowcall.guard_triggers_v1(relation_id integer)
returns table (name text, statement text, kind text, subject text, expression text)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with handlers as (
    select h.*, dense_rank() over (order by h.declared_by) as app, o.operation, r.oid, h.condition is not null
        or lag(h.condition) over (partition by h.declared_by, o.operation order by h.position) is not null as begins
    from rowcall.before_handler as h
    join rowcall.relation as r on r.id = h.relation
    cross join lateral unnest(h.operations) as o (operation)
    where h.relation = relation_id
  ), asked as (
    select *, sum(begins::integer) over (partition by app, operation order by position) as number from handlers
  ), gates as (
    select format('zz_rowcall_1_%s_%s_%s', relation_id, to_char(app, 'FM000'), to_char(number, 'FM000')) as prefix, operation,
      oid::regclass as table_name, min(condition) as expression, min(a.name) as subject,
      nullif(concat_ws(' and ',
        case when operation = 'update' and bool_and(columns <> '{}') then (
          select '(' || string_agg(distinct rowcall.difference_v1(c.attname::text, c.atttypid), ' or ') || ')'
          from pg_attribute as c
          where c.attrelid = a.oid and c.attnum > 0 and not c.attisdropped
            and c.attname = any (select unnest(x.columns) from asked as x
                                 where x.app = a.app and x.operation = a.operation and x.number = a.number)) end,
        '(' || min(condition) || E'\n)'), '') as condition,
      format('%L, %L', sum(timeout_ms), case when bool_or(on_unavailable = 'reject') then 'reject' else 'accept' end)
        as terms,
      string_agg(quote_literal(a.name), ', ' order by position) as names
    from asked as a
    group by app, number, operation, oid
  ), rules as (
    select r.*, n.oid as table_oid, rowcall.rule_condition_v1(r, n.oid) as condition, rowcall.needs_generated_v1(r, n.oid) as late,
      -- Cut by nobody, also after the longest prefix that place_guards_v1 gives, and an id of ten digits.
      format('_%s_%s', relation_id, case when octet_length(r.name) <= 32 then r.name else md5(r.name) end) as short,
      (select relkind = 'p' from pg_class where oid = n.oid) as partitioned
    from rowcall.rule as r
    join rowcall.relation as n on n.id = r.relation
    where r.relation = relation_id
  ), checks as (
    select 'zz_rowcall_3_rule' as prefix, 'before' as timing, 'refuse' as function, operations as at, rules.*
    from rules where on_violation = 'refuse' and not late
    union all
    -- What is deleted nobody changes any more.
    select 'zz_rowcall_4_again', 'after', 'refuse', array_remove(operations, 'delete'), rules.*
    from rules where on_violation = 'refuse' and 'new' = any (rows)
    union all
    select 'zz_rowcall_5_warn', case when partitioned and not late and operations = '{update}' then 'before' else 'after' end, 'warn', operations, rules.*
    from rules where on_violation = 'warn'
  )
  select format('%s_1_gate_%s', prefix, operation),
    format('create trigger %I before %s on %s for each row %s execute function rowcall.gate_%s(%s, %s)',
      format('%s_1_gate_%s', prefix, operation), operation, table_name,
      'when (' || condition || ')', relation_id, terms, names),
    'before-handler', subject, expression
  from gates
  union all
  select format('%s_2_amend_%s', prefix, operation),
    format('create trigger %I before %s on %s for each row when (%scoalesce(pg_catalog.current_setting(%L, true), '''')
      operator(pg_catalog.<>) '''') execute function rowcall.amend_v1(%s)',
      format('%s_2_amend_%s', prefix, operation), operation, table_name,
      condition || ' and ', 'rowcall.amendment', names),
    'before-handler', subject, expression
  from gates where operation <> 'delete'
  union all
  select prefix || short,
    format(E'create trigger %I %s %s on %s for each row when (%s is false) execute function rowcall.%s_%s(%L, %L)',
      prefix || short, timing, array_to_string(at, ' or '), table_oid::regclass, condition, function, relation_id, c.name, message),
    'rule', c.name, c.expression
  from checks as c
  union all
  select name, statement, 'moved', subject, null from rowcall.moved_triggers_v1(relation_id)
$$;
