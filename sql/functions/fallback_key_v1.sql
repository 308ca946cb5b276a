-- The key out of an image, by the table's key columns of this moment; the image itself where there are none.
-- Called by: capture functions, beside fallback_image_v1.
create function rowcall.fallback_key_v1(image jsonb, table_oid oid, options jsonb) returns jsonb
language sql stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(jsonb_object_agg(name, image -> name), image)
  from rowcall.columns_v1(table_oid, options) where key_position is not null
$$;
