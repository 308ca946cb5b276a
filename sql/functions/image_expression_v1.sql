-- The expression for a whole row's image: to_jsonb(row) where every column is plain, which is the fastest,
-- else one object built column by column (50 pairs a call: a function takes 100 arguments).
-- Called by: the generator.
create function rowcall.image_expression_v1(table_oid oid, options jsonb, row_name text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
  v_dropped text[];
begin
  if not exists (select from rowcall.columns_v1(table_oid, options) where redacted or encoding <> 'plain') then
    select array_agg(a.attname::text) into v_dropped
    from pg_attribute as a
    where a.attrelid = table_oid and a.attnum > 0 and not a.attisdropped
      and a.attname::text not in (select name from rowcall.columns_v1(table_oid, options));
    -- Excluded columns of a user's type must not meet to_jsonb either.
    if not exists (select from pg_attribute as a where a.attrelid = table_oid and a.attname = any (v_dropped)
                   and rowcall.encoding_v1(a.atttypid) <> 'plain') then
      return format('to_jsonb(%s)', row_name) || case when v_dropped is null then '' else format(' - %L::text[]', v_dropped) end;
    end if;
  end if;
  return (
    select string_agg(format('jsonb_build_object(%s)', pairs), ' || ' order by chunk)
    from (
      select (ordinality - 1) / 50 as chunk,
        string_agg(format('%L, %s', name, rowcall.value_expression_v1(row_name, name, encoding, redacted)), ', '
                   order by ordinality) as pairs
      from rowcall.columns_v1(table_oid, options) with ordinality
      group by 1
    ) as chunks
  );
end $$;
