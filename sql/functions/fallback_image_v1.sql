-- An image made without knowing the columns beforehand, for the moments when the generated code does not fit: a column
-- was dropped, renamed or retyped and the function not yet generated anew, or a value that JSON cannot hold. Each column is asked
-- for by itself, so one bad value costs only its own form, never the event or the write. A value that to_jsonb refuses
-- becomes null, with its text under "exact", and so does one of another type than this transaction sees in the catalog, which in
-- isolation level REPEATABLE READ is as it was: to_jsonb could run a cast of a user's; of one that is too big for jsonb in any form (256 MB) "omitted" holds the hash.
-- Called by: capture functions, on failure of the fast path. Cost: some 20 µs a column.
create function rowcall.fallback_image_v1(source anyelement, table_oid oid, options jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_column record;
  v_type oid;
  v_value jsonb;
  v_exact text;
  v_image jsonb := '{}';
begin
  for v_column in select *, format('($1).%I', name) as value from rowcall.columns_v1(table_oid, options) loop
    begin
      execute format('select pg_typeof(%s)', v_column.value) into v_type using source;
      if v_type <> v_column.type_oid then
        raise exception 'of another type';
      end if;
      execute format('select to_jsonb(%s), case when %s then %s end',
        rowcall.value_expression_v1('($1)', v_column.name, v_column.type_oid, v_column.encoding, v_column.redacted),
        coalesce(rowcall.loss_v1(v_column.value, v_column.type_oid), 'false'),
        rowcall.exact_value_v1(v_column.value, v_column.type_oid, v_column.encoding))
        into v_value, v_exact using source;
      v_image := v_image || jsonb_build_object(v_column.name, v_value);
      if v_exact is not null and not v_column.redacted then
        v_image := rowcall.with_exact_v1(v_image, v_column.name, v_exact);
      end if;
    exception when others then
      if v_column.redacted then
        v_image := v_image || jsonb_build_object(v_column.name, 'unreadable');
      else
        execute format('select case when num_nulls(%1$s) = 0 then concat(%1$s) end', v_column.value) into v_exact using source;
        v_image := v_image || jsonb_build_object(v_column.name, null);
        if v_exact is not null then
          v_image := rowcall.unheld_v1(v_image, v_column.name, v_exact);
        end if;
      end if;
    end;
  end loop;
  return v_image;
end $$;

-- The image with a value that JSON does not hold: its text, or its hash where jsonb has no room for that.
create function rowcall.unheld_v1(image jsonb, column_name text, value text) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
  return rowcall.with_exact_v1(image, column_name, value);
exception when others then
  return image || jsonb_build_object('', coalesce(image -> '', '{}') || jsonb_build_object('omitted',
    coalesce(image #> '{"",omitted}', '{}')
    || jsonb_build_object(column_name, 'sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex'))));
end $$;
