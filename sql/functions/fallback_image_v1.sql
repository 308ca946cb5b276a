-- An image made without knowing the columns beforehand, for the moments when the generated code does not fit: a column
-- was dropped, renamed or retyped and the function not yet generated anew, or a value that to_jsonb refuses (\u0000 in
-- a json). Each column is asked for by itself, so one bad value costs only its own form, never the event or the write.
-- Called by: capture functions, on failure of the fast path. Cost: some 20 µs a column.
create function rowcall.fallback_image_v1(source anyelement, table_oid oid, options jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column record;
  v_value jsonb;
  v_image jsonb := '{}';
begin
  for v_column in select * from rowcall.columns_v1(table_oid, options) loop
    begin
      execute format('select to_jsonb(%s)',
        rowcall.value_expression_v1('($1)', v_column.name, v_column.encoding, v_column.redacted))
        into v_value using source;
    exception when others then
      if v_column.redacted then
        v_value := '"unreadable"';
      else
        execute format('select to_jsonb(concat(($1).%I))', v_column.name) into v_value using source;
      end if;
    end;
    v_image := v_image || jsonb_build_object(v_column.name, v_value);
  end loop;
  return v_image;
end $$;
