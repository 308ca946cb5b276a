-- The condition under which code generated from a table may not touch a row of it, because a column has another type by now.
-- Not a matter of taste: to_jsonb of a type that a table's owner makes runs the cast to json that came with it, so
-- code made for a built-in type must not see one. By number, since a name can be given to another type.
-- Called by: the generators of functions that are SECURITY DEFINER. Cost at run time: 0.02 µs a column.
create function rowcall.drift_v1(table_oid oid, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(string_agg(format('pg_typeof(%s.%I) <> %s', row_name, attname, atttypid), ' or ' order by attnum), 'false')
  from pg_attribute
  where attrelid = table_oid and attnum > 0 and not attisdropped and attgenerated <> 'v'
    and rowcall.encoding_v1(atttypid) in ('plain', 'json', 'jsons')
$$;
