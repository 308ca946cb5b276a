-- Which columns the lists of a watch's options mean, by number: {"exclude": …, "redact": …, "columns": …, "erasable": …} go by name, but a
-- column that is renamed stays what it is, and what is hidden stays hidden. Kept in the options as "attnums": {name: number},
-- with the table's OID as the number of "": in a partition, or a database restored from a dump, columns have other numbers.
-- Called by: watch_v1, follow_renames_v1.
create function rowcall.attnums_v1(table_oid oid, options jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select jsonb_build_object('', table_oid::bigint) || coalesce(jsonb_object_agg(a.attname, a.attnum), '{}')
  from pg_attribute as a
  where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
    and a.attname::text in (select jsonb_array_elements_text(list)
      from (values (options -> 'exclude'), (options -> 'redact'), (options -> 'columns'),
        (options -> 'erasable')) as lists (list))
$$;

-- Whether one of these lists means a column: by its name, or by the number that a listed name had in this very table.
create function rowcall.means_v1(table_oid oid, options jsonb, list text, name text, attnum int2) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(options -> list ? name or (options #>> '{attnums,""}')::oid = table_oid and exists (
    select from jsonb_array_elements_text(options -> list) as listed
    where (options #>> array['attnums', listed])::int2 = means_v1.attnum), false)
$$;

-- The columns of a table that capture takes, in table order, with the place of each in the key.
-- The key is the primary key, else the index of REPLICA IDENTITY, else none (key_position null everywhere).
-- A list that is not there means none, for which nothing is called: this runs some thirty times a watch.
-- Called by: the generator, watch, layout.
create function rowcall.columns_v1(table_oid oid, options jsonb)
returns table (name text, type_oid oid, type text, encoding text, redacted boolean, key_position integer, erasable boolean)
language sql stable rows 20
set search_path = pg_catalog, pg_temp
as $$
  with key_index as (
    -- What the index merely includes comes after the columns of its key. An int2vector counts from 0.
    select (i.indkey::int2[])[0:i.indnkeyatts - 1] as attnums
    from pg_index as i
    where i.indrelid = table_oid and (i.indisprimary or i.indisreplident)
    order by i.indisprimary desc
    limit 1
  )
  select a.attname::text, a.atttypid, format_type(a.atttypid, a.atttypmod), rowcall.encoding_v1(a.atttypid),
    options ? 'redact' and rowcall.means_v1(table_oid, options, 'redact', a.attname::text, a.attnum),
    (select array_position(k.attnums, a.attnum) from key_index as k),
    options ? 'erasable' and rowcall.means_v1(table_oid, options, 'erasable', a.attname::text, a.attnum)
  from pg_attribute as a
  where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
    and not (options ? 'exclude' and rowcall.means_v1(table_oid, options, 'exclude', a.attname::text, a.attnum))
    and a.attgenerated <> 'v'
  order by a.attnum
$$;
