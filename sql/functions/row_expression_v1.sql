-- The way back: the expression that makes a row of a table out of an image; image is an SQL expression of type jsonb.
-- Columns the image does not have are null. Values go through the input functions of their types, never through casts, which
-- somebody may have defined; only domains check, as they do on any write.
-- Run it with intervalstyle = postgres, lc_monetary = C, array_nulls = on and xmloption = content, as images are made.
-- Called by: readers of the log that need rows rather than JSON. Runs with the reader's rights.
create function rowcall.row_expression_v1(table_oid oid, image text) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with columns as (
    select a.attname::text as name, a.attnum as position, format_type(a.atttypid, a.atttypmod) as type,
      (rowcall.base_type_v1(a.atttypid)).oid as base, rowcall.encoding_v1(a.atttypid) as encoding
    from pg_attribute as a
    where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
  ), readers as (
    select name, position, case
      -- JSON in JSON has to be read by itself: a part of the image has lost its SQL NULL, its spaces and \u0000.
      when encoding = 'json' then format('coalesce(apart.exact ->> %1$L, given.image ->> %1$L)::%2$s', name, type)
      when encoding = 'jsons' then format('rowcall.texts_v1(coalesce(apart.exact -> %1$L, given.image -> %1$L))::%2$s', name, type)
      when base = 'jsonb'::regtype then format('coalesce((apart.exact ->> %1$L)::jsonb, nullif(given.image -> %1$L, ''null''))::%2$s', name, type)
      end as reader
    from columns
  )
  select format('(select row(%1$s)::%2$s from (select %3$s) as given (image)'
      || ' cross join lateral (select coalesce(given.image #> ''{"",exact}'', ''{}'')) as apart (exact)'
      || ' cross join lateral jsonb_populate_record(null::%2$s, given.image - %4$L::text[] || (apart.exact - %4$L::text[])) as plain)',
    string_agg(coalesce(reader, format('plain.%I', name)), ', ' order by position), table_oid::regclass, image,
    array_append(array_agg(name) filter (where reader is not null), ''))
  from readers
$$;

-- An array of texts, of any number of dimensions, out of JSON: of strings, or of one string that is the array as
-- PostgreSQL prints it.
create function rowcall.texts_v1(value jsonb) returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
set array_nulls = on
as $$
  select texts from jsonb_to_record(jsonb_build_object('texts', value)) as r (texts text[])
$$;
