-- Replaces what one app declared for one relation; what others declared stays. Errors name the cure.
-- rules: [{"name", "expression", "message", "operations"}]; handlers: [{"name", "operations", "columns", "timeout_ms",
-- "on_unavailable"}], in the order they run.
-- Called by: guard_v1.
create function rowcall.declare_guards_v1(relation_id integer, rules jsonb, handlers jsonb, declared_by text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
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
  insert into rowcall.rule (relation, name, declared_by, expression, message, operations)
    select relation_id, d ->> 'name', declare_guards_v1.declared_by, d ->> 'expression', d ->> 'message',
      array(select jsonb_array_elements_text(d -> 'operations'))
    from jsonb_array_elements(rules) as d;
  insert into rowcall.before_handler (relation, name, declared_by, position, operations, columns, timeout_ms, on_unavailable)
    select relation_id, d ->> 'name', declare_guards_v1.declared_by, position,
      array(select jsonb_array_elements_text(d -> 'operations')), array(select jsonb_array_elements_text(d -> 'columns')),
      (d ->> 'timeout_ms')::integer, d ->> 'on_unavailable'
    from jsonb_array_elements(handlers) with ordinality as h (d, position);
end $$;
