-- The columns of a table that capture takes, in table order, with the place of each in the key.
-- The key is the primary key, else the index of REPLICA IDENTITY, else none (key_position null everywhere).
-- Called by: the generator, watch, layout.
create function rowcall.columns_v1(table_oid oid, options jsonb)
returns table (name text, type_oid oid, type text, encoding text, redacted boolean, key_position integer)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with key_index as (
    select i.indkey::int2[] as attnums
    from pg_index as i
    where i.indrelid = table_oid and (i.indisprimary or i.indisreplident)
    order by i.indisprimary desc
    limit 1
  )
  select a.attname::text, a.atttypid, format_type(a.atttypid, a.atttypmod), rowcall.encoding_v1(a.atttypid),
    coalesce(options -> 'redact', '[]') ? a.attname::text,
    (select array_position(k.attnums, a.attnum) from key_index as k)
  from pg_attribute as a
  where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
    and not coalesce(options -> 'exclude', '[]') ? a.attname::text
    and a.attgenerated <> 'v'
  order by a.attnum
$$;
