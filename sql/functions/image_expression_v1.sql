-- The row as to_jsonb makes it, which is the fastest, or null where a column is not for to_jsonb. Excluded columns of a
-- user's type must not meet it either.
create function rowcall.whole_row_v1(table_oid oid, options jsonb, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with columns as (
    select a.attname::text as name, a.attnum as position, a.atttypid as type_oid, rowcall.encoding_v1(a.atttypid) as encoding,
      c.name is null as dropped, c.redacted,
      a.attgenerated = 'v' as virtual
    from pg_attribute as a
    left join rowcall.columns_v1(table_oid, options) as c on c.name = a.attname::text
    where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
  )
  -- A virtual column cannot be asked for its type in a transition table, nor be of a user's type.
  select case when rowcall.follows_ddl_v1() then image
    else format('case when %s then rowcall.drifted_v1(''{}''::jsonb) else %s end', drift, image) end
  from (
    select string_agg(rowcall.drift_v1(format('%s.%I', row_name, name), type_oid), ' or ' order by position)
        filter (where not virtual) as drift,
      -- Not just the row's name, which could be a column's.
      format('to_jsonb(%s.*)%s', row_name,
        case when bool_or(dropped) then format(' - %L::text[]', array_agg(name) filter (where dropped)) else '' end) as image
    from columns
    having not bool_or(encoding <> 'plain' or coalesce(redacted, false))
  ) as whole
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
