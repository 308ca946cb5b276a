-- The statements that note one column's old value of an update in v_text, as a member of a JSON object, and in v_exact the
-- value's text where JSON does not hold it. Text put together: a third of the cost of jsonb.
-- Called by: capture_definition_v1, for the columns that difference_v1 finds changed.
create function rowcall.old_value_v1(column_name text, type_oid oid, encoding text, redacted boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format(E'        v_text := v_text || %L || coalesce(to_json(%s)::text, ''null'');\n', format(',%s:', to_json(column_name)),
      rowcall.value_expression_v1('old', column_name, type_oid, encoding, redacted))
    || case when loss is null or redacted then '' else format(
      E'        if %s then\n          v_exact := concat(v_exact, %L, to_json(%s));\n        end if;\n',
      loss, format(',%s:', to_json(column_name)), rowcall.exact_value_v1(value, type_oid, encoding)) end
  from (select format('old.%I', column_name)) as v (value)
  cross join lateral (select rowcall.loss_v1(value, type_oid)) as l (loss)
$$;

-- An image that also holds the text of one of its values.
create function rowcall.with_exact_v1(image jsonb, column_name text, value text) returns jsonb
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select image || jsonb_build_object('', coalesce(image -> '', '{}') || jsonb_build_object('exact',
    coalesce(image #> '{"",exact}', '{}') || jsonb_build_object(column_name, value)))
$$;
