-- The expression for a row's key, or the whole image where the table has none.
-- Called by: the generator.
create function rowcall.key_expression_v1(table_oid oid, options jsonb, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(
    (select format('jsonb_build_object(%s)', string_agg(
       format('%L, %s', name, rowcall.value_expression_v1(row_name, name, type_oid, encoding, redacted)), ', '
       order by key_position)) || rowcall.exact_expression_v1(table_oid, options, row_name, true)
     from rowcall.columns_v1(table_oid, options) where key_position is not null
     having count(*) > 0),
    rowcall.image_expression_v1(table_oid, options, row_name))
$$;
