-- The key out of an image, by the table's key columns of this moment; the image itself where there are none.
-- Called by: capture functions, beside fallback_image_v1.
create function rowcall.fallback_key_v1(image jsonb, table_oid oid, options jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select case
    when plain is null then image
    when exact is null then plain
    else plain || jsonb_build_object('', jsonb_build_object('exact', exact))
  end
  from (
    select jsonb_object_agg(name, image -> name) as plain,
      jsonb_object_agg(name, text) filter (where text is not null and rowcall.element_type_v1(type_oid) is not null) as exact
    from rowcall.columns_v1(table_oid, options)
    cross join lateral (select image #> array['', 'exact', name]) as t (text)
    where key_position is not null
  ) as key
$$;
