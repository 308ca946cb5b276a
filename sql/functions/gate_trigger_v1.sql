-- The statement that makes the gate's trigger for one operation of a relation, or null where no handler asks for it.
-- If every handler names columns, rows in which none of them changed never leave PostgreSQL.
-- Called by: guard_v1.
create function rowcall.gate_trigger_v1(relation_id integer, operation text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('create trigger %I before %s on %s for each row %s execute function rowcall.gate_%s(%s)',
    'zz_rowcall_1_gate_' || operation, operation, max(r.oid)::regclass,
    case when operation = 'update' and bool_and(h.columns <> '{}') then
      (select format('when (%s)', string_agg(distinct rowcall.difference_v1(a.attname::text, a.atttypid), ' or '))
       from pg_attribute as a
       where a.attrelid = max(r.oid) and a.attnum > 0
         and a.attname = any (select unnest(columns) from rowcall.before_handler
                              where relation = relation_id and gate_trigger_v1.operation = any (operations)))
    end,
    relation_id,
    format('%L, %L, ', sum(h.timeout_ms), case when bool_or(h.on_unavailable = 'reject') then 'reject' else 'accept' end)
      || string_agg(quote_literal(h.name), ', ' order by h.declared_by, h.position))
  from rowcall.before_handler as h
  join rowcall.relation as r on r.id = h.relation
  where h.relation = relation_id and operation = any (h.operations)
  having count(*) > 0
$$;
