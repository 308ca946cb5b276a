-- The expression that turns one column of a row into what an image holds; row is 'old' or 'new'.
-- num_nulls instead of IS NULL: a composite of nulls is not null.
-- Called by: the generator.
create function rowcall.value_expression_v1(row_name text, column_name text, type_oid oid, encoding text, redacted boolean)
returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when redacted then format('rowcall.redacted_v1(%s)', value)
    when encoding = 'plain' then value
    when encoding = 'json' then value || '::text'
    when encoding = 'jsons' then rowcall.texts_expression_v1(value, type_oid)
    when encoding = 'text' then format('case when num_nulls(%1$s) = 0 then concat(%1$s) end', value)
    when encoding = 'texts' then format('case when num_nulls(%1$s) = 0 then concat(%1$s)::text[] end', value)
  end
  from (select format('%s.%I', row_name, column_name)) as v (value)
$$;
