-- The columns of which JSON may lose a value: the condition under which it does, and the expression for the value's text.
-- Of a key, only arrays matter: elsewhere values that JSON does not tell apart are equal to a unique index too.
-- Called by: exact_expression_v1, stored_expression_v1.
create function rowcall.losses_v1(table_oid oid, options jsonb, row_name text, of_key boolean)
returns table (name text, text text, loss text, "position" bigint)
language sql stable rows 10
set search_path = pg_catalog, pg_temp
as $$
  select c.name, rowcall.exact_value_v1(v.value, c.type_oid, c.encoding), rowcall.loss_v1(v.value, c.type_oid),
    row_number() over (order by c.ordinality)
  from rowcall.columns_v1(table_oid, options) with ordinality as c
  cross join lateral (select format('%s.%I', row_name, c.name)) as v (value)
  where not c.redacted and rowcall.loss_v1(v.value, c.type_oid) is not null
    and (not of_key or c.key_position is not null and rowcall.element_type_v1(c.type_oid) is not null)
$$;

-- What an expression for an image or a key is followed by, so that no value is lost: in rows where JSON does not hold a value
-- (see loss_v1) the object gets the key "", which no column can have, with the text of each such value:
-- {"id": 1, "data": null, "": {"exact": {"data": "null"}}}. Empty for tables whose types cannot lose anything.
-- Called by: image_expression_v1, key_expression_v1.
create function rowcall.exact_expression_v1(table_oid oid, options jsonb, row_name text, of_key boolean) returns text
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  with losses as (
    select * from rowcall.losses_v1(table_oid, options, row_name, of_key)
  ), objects as (
    select format('jsonb_build_object(%s)', string_agg(
      format('%L, case when %s then %s end', name, loss, text), ', ' order by position)) as object
    from losses group by (position - 1) / 50
  )
  select coalesce((
    select format(' || case when %s then jsonb_build_object('''', jsonb_build_object(''exact'', jsonb_strip_nulls(%s)))'
      || ' else ''{}''::jsonb end', (select string_agg(loss, ' or ' order by position) from losses),
      string_agg(object, ' || '))
    from objects having count(*) > 0), '')
$$;
