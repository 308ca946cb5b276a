-- The row as to_jsonb makes it, which is the fastest, or null where a column is not for to_jsonb. Excluded columns of a
-- user's type must not meet it either.
create function rowcall.whole_row_v1(table_oid oid, options jsonb, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  -- Not just the row's name, which could be a column's.
  select format('to_jsonb(%s.*)%s', row_name,
    case when bool_or(c.name is null) then format(' - %L::text[]', array_agg(a.attname::text) filter (where c.name is null))
      else '' end)
  from pg_attribute as a
  left join rowcall.columns_v1(table_oid, options) as c on c.name = a.attname::text
  where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
  having not bool_or(rowcall.encoding_v1(a.atttypid) <> 'plain' or coalesce(c.redacted, false) or a.attgenerated = 'v')
    and (select relkind <> 'p' from pg_class where oid = table_oid)
$$;

-- The expression for a whole row's image: to_jsonb(row) where every column is plain, which is the fastest,
-- else one object built column by column (50 pairs a call: a function takes 100 arguments).
-- Called by: the generator.
create function rowcall.image_expression_v1(table_oid oid, options jsonb, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(rowcall.whole_row_v1(table_oid, options, row_name), (
    select string_agg(format('jsonb_build_object(%s)', pairs), ' || ' order by chunk)
    from (
      select (ordinality - 1) / 50 as chunk,
        string_agg(format('%L, %s', name, rowcall.value_expression_v1(row_name, name, type_oid, encoding, redacted)), ', '
                   order by ordinality) as pairs
      from rowcall.columns_v1(table_oid, options) with ordinality
      group by 1
    ) as chunks
  )) || rowcall.exact_expression_v1(table_oid, options, row_name, false)
$$;
