-- Writes into the row what before-handlers amended, with the writer's own rights: the input of a type or the check
-- of a domain may run code that somebody defined. The gate's trigger, which fires just before under the same condition,
-- leaves the amendment in a setting of the transaction; it sets or clears it for every row.
-- The block that catches what does not fit writes nothing, so it costs no transaction id.
-- Arguments: the handlers' names. Called by: the triggers zz_rowcall_1_…_2_amend_…, only where there is something to amend.
create function rowcall.amend_v1() returns trigger
language plpgsql
as $$
declare
  v_generated pg_catalog.text;
begin
  select pg_catalog.string_agg(a.attname::pg_catalog.text, ', ') into v_generated from pg_catalog.pg_attribute as a
    where a.attrelid operator(pg_catalog.=) tg_relid and a.attgenerated operator(pg_catalog.<>) ''
      and pg_catalog.current_setting('rowcall.amendment')::pg_catalog.jsonb operator(pg_catalog.?) a.attname::pg_catalog.text;
  if v_generated is not null then
    raise exception using errcode = '428C9', message = pg_catalog.format('%s is generated from other columns', v_generated);
  end if;
  new := pg_catalog.jsonb_populate_record(new, pg_catalog.current_setting('rowcall.amendment')::pg_catalog.jsonb);
  perform pg_catalog.set_config('rowcall.amendment', '', true);
  return new;
exception when others then
  raise exception using errcode = sqlstate,
    message = pg_catalog.format('what %s amended in %I.%I cannot be written: %s', pg_catalog.array_to_string(tg_argv, ', '),
      tg_table_schema, tg_table_name, sqlerrm),
    hint = 'Have the before-handler return values that the columns take.', schema = tg_table_schema, table = tg_table_name;
end $$;
