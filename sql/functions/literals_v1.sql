-- Rows as texts, one for each column that can be written, in table order: what the input functions of their types make the same
-- values of, to the last bit, whatever a session's settings. Null where a value is null.

-- The expression for them; row_name is an expression for a row of the table.
-- Called by: literals_v1, live_literals_v1.
create function rowcall.literals_expression_v1(table_oid oid, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('array[%s]::text[]', string_agg(
    case rowcall.encoding_v1(atttypid)
      -- What xml prints as has lost its declaration.
      when 'json' then format('%s::text', value)
      when 'jsons' then format('case when num_nulls(%s) = 0 then concat(%s) end', value, rowcall.texts_expression_v1(value, atttypid))
      else format('case when num_nulls(%1$s) = 0 then concat(%1$s) end', value)
    end, ', ' order by attnum))
  from (
    select attnum, atttypid, format('%s.%I', row_name, attname) as value from pg_attribute
    where attrelid = table_oid and attnum > 0 and not attisdropped and attgenerated = ''
  ) as columns
$$;

-- What a statement that was made below gives, under the settings by which images are made and read. Settings of its own, as the
-- transaction goes on with its session's.
-- Called by: literals_v1, live_literals_v1.
create function rowcall.read_literals_v1(statement text, images jsonb[]) returns table (n bigint, literals text[])
language plpgsql
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO, MDY'
set intervalstyle = 'postgres'
set bytea_output = 'hex'
set extra_float_digits = '1'
set lc_monetary = 'C'
set array_nulls = on
set xmloption = content
as $$
begin
  return query execute statement using images;
end $$;

-- The rows of a table that images mean, "whole" by their numbers "n".
-- Called by: as read_literals_v1.
create function rowcall.whole_rows_v1(table_oid oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select format('(select given.n, %s as whole from unnest($1) with ordinality as given (image, n) offset 0)',
    rowcall.row_expression_v1(table_oid, 'given.image'))
$$;

-- The rows that images of a table mean.
-- Called by: rowcall audit undo. Runs with the caller's rights.
create function rowcall.literals_v1(table_oid oid, images jsonb[]) returns table (n bigint, literals text[])
language sql
set search_path = pg_catalog, pg_temp
as $$
  select n, literals from rowcall.read_literals_v1(format('select made.n, %s from %s as made',
    rowcall.literals_expression_v1(table_oid, '(made.whole)'), rowcall.whole_rows_v1(table_oid)), images)
$$;

-- The rows that are in a table with the keys of these images, locked.
-- Called by: rowcall audit undo. Runs with the caller's rights.
create function rowcall.live_literals_v1(table_oid oid, options jsonb, images jsonb[]) returns table (n bigint, literals text[])
language sql
set search_path = pg_catalog, pg_temp
as $$
  select n, literals from rowcall.read_literals_v1(format('select made.n, %s from %s as made join %s%s as live on %s for update of live',
    rowcall.literals_expression_v1(table_oid, 'live'), rowcall.whole_rows_v1(table_oid),
    case (select relkind from pg_class where oid = table_oid) when 'p' then '' else 'only ' end, table_oid::regclass,
    rowcall.same_key_v1(table_oid, options, 'live', '(made.whole)')), images)
$$;
