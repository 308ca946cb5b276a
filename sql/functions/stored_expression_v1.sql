-- The expression for a whole row's image as the log stores it: JSON text, which costs half of what jsonb does to make (1.5 µs
-- against 2.8 for 12 columns) and nothing to read. row_to_json(row) where every column is plain, else one object
-- made column by column; the jsonb of image_expression_v1 where a value of the row
-- needs its exact text beside it, or where there are more columns than a function takes arguments.
-- Called by: the capture functions' generators.
create function rowcall.stored_expression_v1(table_oid oid, options jsonb, row_name text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with columns as (
    select string_agg(format('%L, %s', name, rowcall.value_expression_v1(row_name, name, type_oid, encoding, redacted)), ', '
             order by ordinality) as pairs,
      count(*) as many,
      count(*) filter (where encoding = 'plain' and not redacted) as plain
    from rowcall.columns_v1(table_oid, options) with ordinality
  )
  select case
    when many > 50 and plain < present then format('(%s)::json', image)
    else format(case when losses is null then '%3$s' else 'case when %1$s then (%2$s)::json else %3$s end' end, losses, image,
      -- Not just the row's name, which could be a column's.
      case when plain = present then format('row_to_json(%s.*)', row_name) else format('json_build_object(%s)', pairs) end)
    end
  from columns
  cross join lateral (select count(*) as present from pg_attribute
    where attrelid = table_oid and attnum > 0 and not attisdropped) as t
  cross join lateral (select string_agg(loss, ' or ' order by position) as losses
    from rowcall.losses_v1(table_oid, options, row_name, false)) as l
  cross join lateral (select rowcall.image_expression_v1(table_oid, options, row_name) as image) as i
$$;
