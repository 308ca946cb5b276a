-- Replaces what one app declared for one relation; what others declared stays. Errors name the cure. Says what differs from what
-- it declared before, as in 'before-handler check: removed, rule adult: changed'; null if nothing does.
-- rules: [{"name", "expression", "message", "operations", "rows", "on_violation"}]; handlers: [{"name", "operations", "columns",
-- "when", "timeout_ms", "on_unavailable"}], in the order they run.
-- Called by: guard_v1.
create function rowcall.declare_guards_v1(relation_id integer, rules jsonb, handlers jsonb, declared_by text) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_before constant jsonb := rowcall.declared_guards_v1(relation_id, declared_by);
  v_taken record;
begin
  delete from rowcall.rule as r where r.relation = relation_id and r.declared_by = declare_guards_v1.declared_by;
  delete from rowcall.before_handler as h where h.relation = relation_id and h.declared_by = declare_guards_v1.declared_by;
  select g.what, g.name, g.declared_by, n.oid::regclass as table_name into v_taken
    from (
      select 'rule' as what, r.name, r.declared_by
        from rowcall.rule as r join jsonb_array_elements(rules) as d on d ->> 'name' = r.name
        where r.relation = relation_id
      union all
      select 'before-handler', h.name, h.declared_by
        from rowcall.before_handler as h join jsonb_array_elements(handlers) as d on d ->> 'name' = h.name
        where h.relation = relation_id
    ) as g
    cross join rowcall.relation as n where n.id = relation_id;
  if found then
    raise exception using errcode = '42710',
      message = format('a %s named %I of %s is declared by %s already.',
        v_taken.what, v_taken.name, v_taken.table_name, v_taken.declared_by),
      hint = 'Give one of the two another name.';
  end if;
  insert into rowcall.rule (relation, name, declared_by, expression, message, operations, rows, on_violation)
    select relation_id, d ->> 'name', declare_guards_v1.declared_by, d ->> 'expression', d ->> 'message',
      array(select jsonb_array_elements_text(d -> 'operations')), array(select jsonb_array_elements_text(d -> 'rows')),
      coalesce(d ->> 'on_violation', 'refuse')
    from jsonb_array_elements(rules) as d;
  insert into rowcall.before_handler
      (relation, name, declared_by, position, operations, columns, condition, timeout_ms, on_unavailable)
    select relation_id, d ->> 'name', declare_guards_v1.declared_by, position,
      array(select jsonb_array_elements_text(d -> 'operations')), array(select jsonb_array_elements_text(d -> 'columns')),
      d ->> 'when', (d ->> 'timeout_ms')::integer, d ->> 'on_unavailable'
    from jsonb_array_elements(handlers) with ordinality as h (d, position);
  return (
    select string_agg(format('%s: %s', name, case when was.declared is null then 'created' when is_now.declared is null
      then 'removed' else 'changed' end), ', ' order by name)
    from jsonb_each(v_before) as was (name, declared)
    full join jsonb_each(rowcall.declared_guards_v1(relation_id, declared_by)) as is_now (name, declared) using (name)
    where was.declared is distinct from is_now.declared);
end $$;

-- What an app has declared for a relation, by kind and name.
create function rowcall.declared_guards_v1(relation_id integer, declared_by text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(name, declared), '{}')
  from (
    select 'rule ' || r.name as name, to_jsonb(r) as declared
    from rowcall.rule as r where r.relation = relation_id and r.declared_by = declared_guards_v1.declared_by
    union all
    select 'before-handler ' || h.name, to_jsonb(h)
    from rowcall.before_handler as h where h.relation = relation_id and h.declared_by = declared_guards_v1.declared_by
  ) as declarations
$$;
