-- Refuses before-handlers while the gate has no connection. Rules work without it, unrecorded.
-- Called by: guard_v1.
create function rowcall.check_gate_v1(relation_id integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
  v_handler text;
begin
  select name into v_handler from rowcall.before_handler where relation = relation_id limit 1;
  if found and to_regprocedure('rowcall.ask_v1(text, jsonb, integer)') is null then
    raise exception using errcode = '55000',
      message = format('the before-handler %s needs the gate, which is not configured.', v_handler),
      hint = 'Run "rowcall migrate --gate-dsn postgresql://LOGIN:PASSWORD@HOST/DATABASE" once.';
  end if;
  select column_name into v_handler
    from (select unnest(columns) as column_name, oid from rowcall.before_handler
          join rowcall.relation as r on r.id = relation where relation = relation_id) as c
    where not exists (select from pg_attribute where attrelid = c.oid and attname = column_name
                      and attnum > 0 and not attisdropped)
    limit 1;
  if found then
    raise exception using errcode = '42703', message = format('there is no column %I for a before-handler to watch.', v_handler),
      hint = 'Correct the name in columns=[…].';
  end if;
end $$;
