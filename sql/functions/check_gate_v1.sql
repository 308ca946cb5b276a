-- Refuses before-handlers while the gate has no connection, and columns that are not there to be watched or that every
-- row would be asked for without. Rules work without the gate, unrecorded.
-- Called by: guard_v1.
create function rowcall.check_gate_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_found record;
begin
  select name into v_found from rowcall.before_handler where relation = relation_id order by position limit 1;
  if found and to_regprocedure('rowcall.ask_v1(text, jsonb, integer)') is null then
    raise exception using errcode = '55000',
      message = format('the before-handler %s needs the gate, which is not configured.', v_found.name),
      hint = 'Run "rowcall migrate --gate-dsn postgresql://LOGIN:PASSWORD@HOST/DATABASE" once.';
  end if;
  select h.name, c.column_name, r.oid::regclass as table_name into v_found
    from rowcall.before_handler as h
    join rowcall.relation as r on r.id = h.relation
    cross join lateral unnest(h.columns) as c (column_name)
    where h.relation = relation_id
      and not exists (select from pg_attribute as a where a.attrelid = r.oid and a.attname = c.column_name
                      and a.attnum > 0 and not a.attisdropped)
    limit 1;
  if found then
    raise exception using errcode = '42703',
      message = format('%s has no column %I, which the before-handler %s watches.',
        v_found.table_name, v_found.column_name, v_found.name),
      hint = 'Correct the name in columns=[…].';
  end if;
  select h.name, c.column_name, r.oid::regclass as table_name into v_found
    from rowcall.before_handler as h
    join rowcall.relation as r on r.id = h.relation
    cross join lateral unnest(h.columns) as c (column_name)
    join rowcall.watch as w on w.relation = r.id and coalesce(w.options -> 'exclude', '[]') ? c.column_name
    where h.relation = relation_id
    limit 1;
  if found then
    raise exception using errcode = '42703',
      message = format('%s.%I is excluded from everything Rowcall sees, so the before-handler %s cannot watch it.',
        v_found.table_name, v_found.column_name, v_found.name),
      hint = 'Redact the column instead, or leave it out of columns=[…].';
  end if;
end $$;
