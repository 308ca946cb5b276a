-- An image made without knowing the columns beforehand, for the moments when the generated code does not fit: a column
-- was dropped, renamed or retyped and the function not yet generated anew, or a value that JSON cannot hold. Each column is asked
-- for by itself, so one bad value costs only its own form, never the event or the write. A value that to_jsonb refuses
-- becomes null, with its text under "exact", and so does one of another type than this transaction sees in the catalog, which in
-- isolation level REPEATABLE READ is as it was: to_jsonb could run a cast of a user's; of one that there is no room for "omitted"
-- holds the hash, or that it has no text, being too long for one. The room is a quarter of a gigabyte, since an event holds up to
-- four images and all of it has to fit in a gigabyte. Settings of its own: the caller's are for the types that columns had.
-- Called by: capture functions, on failure of the fast path. Cost: some 20 µs a column.
create function rowcall.fallback_image_v1(source anyelement, table_oid oid, options jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = '1'
set lc_monetary = 'C'
set quote_all_identifiers = off
set array_nulls = on
as $$
declare
  v_column record;
  v_type oid;
  v_value jsonb;
  v_exact text;
  v_size integer;
  v_room integer := 250000000;
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
      -- What the log holds is the text: of a value that is small as jsonb it may be too long, or too deep to be read.
      v_size := coalesce(octet_length(v_value::text::json::text), 0) + coalesce(octet_length(to_json(v_exact)::text), 0);
      if v_size > v_room then
        raise exception 'no room';
      end if;
      v_image := v_image || jsonb_build_object(v_column.name, v_value);
      if v_exact is not null and not v_column.redacted then
        v_image := rowcall.with_exact_v1(v_image, v_column.name, v_exact);
      end if;
      v_room := v_room - v_size;
    exception when others then
      if v_column.redacted then
        v_image := v_image || jsonb_build_object(v_column.name, 'unreadable');
      else
        v_exact := null;
        v_image := v_image || jsonb_build_object(v_column.name, null);
        begin
          execute format('select case when num_nulls(%1$s) = 0 then concat(%1$s) end', v_column.value) into v_exact using source;
          if v_exact is not null then
            v_size := octet_length(to_json(v_exact)::text);
            if v_size > v_room then
              raise exception 'no room';
            end if;
            v_image := rowcall.with_exact_v1(v_image, v_column.name, v_exact);
            v_room := v_room - v_size;
          end if;
        exception when others then
          v_image := rowcall.unheld_v1(v_image, v_column.name, v_exact);
        end;
      end if;
    end;
  end loop;
  return v_image;
end $$;

-- The image with a note of a value that it has no room for: the hash of its text; null where that is too long for PostgreSQL too.
create function rowcall.unheld_v1(image jsonb, column_name text, value text) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select image || jsonb_build_object('', coalesce(image -> '', '{}') || jsonb_build_object('omitted',
    coalesce(image #> '{"",omitted}', '{}') || jsonb_build_object(column_name,
      coalesce('sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex'), 'too long'))))
$$;
