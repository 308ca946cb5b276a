-- The expression for an image of a row whose columns may not be what this transaction sees in the catalog, which is as it was when a
-- transaction of isolation level REPEATABLE READ began: each column is asked for by its name, and one of another type
-- gives the text that its output function prints, since to_jsonb of it could run a cast of a user's.
-- The key comes out of the image, by fallback_key_v1.
-- Called by: capture functions of whole statements, when their own code does not fit, and before TRUNCATE.
create function rowcall.fallback_expression_v1(table_oid oid, options jsonb, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select string_agg(format('jsonb_build_object(%s)', pairs), ' || ' order by chunk)
    || rowcall.exact_expression_v1(table_oid, options, row_name, false)
  from (
    select (ordinality - 1) / 50 as chunk,
      string_agg(format(
        '%1$L, case when pg_typeof(%2$s) = %3$s then to_jsonb(%4$s) else to_jsonb(case when num_nulls(%2$s) = 0 then concat(%2$s) end) end',
        name, format('%s.%I', row_name, name), type_oid,
        rowcall.value_expression_v1(row_name, name, type_oid, encoding, redacted)), ', ' order by ordinality) as pairs
    from rowcall.columns_v1(table_oid, options) with ordinality
    group by 1
  ) as chunks
$$;
